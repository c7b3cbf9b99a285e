"""The texts that are given to SLURM and read from it, with the real commands on a real cluster."""

import json
import os
import re
import secrets
import string
import time
from pathlib import Path

import msgspec
import pytest

from services.executor.kinds.slurm.evidence import KnownLaunch, SlurmEvidence
from services.executor.kinds.slurm.verdicts import End, GoOn, Graces, judge_slurm
from shared.pipes.protocol.answers import Claim, Evidence
from shared.slurm.answers.accounting import Accounting, read_accounting, sacct_arguments
from shared.slurm.answers.calls import QUERY_ENVIRONMENT, why_no_answer
from shared.slurm.answers.cluster import read_cluster_config, read_partitions
from shared.slurm.answers.queue import Queue, read_queue, squeue_arguments
from shared.slurm.answers.submission import Submission, read_submission
from shared.slurm.requests.getopt import LONG, SHORT, Option, read_options
from shared.slurm.requests.needs import UnitNeeds, merge_needs
from shared.slurm.requests.script import batch_script, launch_log, sbatch_arguments, split_array
from stoker.contracts.needs import SchedulingRequest
from stoker.contracts.resources import SlurmRunnerConfig
from tests.servers.slurm.accounts import LIMITED_ACCOUNT, NARROW_ACCOUNT
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.executions import Done
from tests.servers.slurm.users import UnixUser

_SAYS_WHAT_IT_IS = "import json, os, sys; print(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]))"
_WAITS = "import time; time.sleep(1000)"
_TAKES_MEMORY = "x = bytearray(300_000_000); import time; time.sleep(60)"
_BATCHING = {
    "target_cpus_per_job": 4,
    "max_cpus_per_job": 8,
    "target_mem_per_job": 1000,
    "max_mem_per_job": 2000,
    "target_num_jobs": 2,
    "max_num_jobs": 4,
}


class Site:
    """One user's job folder, with a runner that does what a test wants."""

    def __init__(self, cluster: SlurmCluster, user: UnixUser, runner: str, name: str = "01kjob") -> None:
        self.cluster = cluster
        self.user = user
        self.marker = f"stoker-{secrets.token_hex(6)}"
        self.submitted_at = time.time()
        self.folder = user.home / "stoker jobs%1" / name
        for path in (self.folder.parent, self.folder, self.folder / "slurm", self.folder / "batches"):
            path.mkdir(exist_ok=True)
            self._give(path)
        self._write("runner.py", runner)

    def submit(
        self, needs: UnitNeeds, *, batches: tuple[int, ...] = (0,), parallel: int = 1, requeue: bool = False
    ) -> Submission:
        """One array, by the user's own sbatch."""
        (part,) = split_array(batches, 1001)
        folder = str(self.folder)
        text = batch_script(
            needs,
            parallel=parallel,
            python="/usr/bin/python3",
            job_folder=folder,
            part=part,
            requeue=requeue,
        )
        script = self._write("submit.sh", text)
        arguments = sbatch_arguments(part, script=script, job_folder=folder, marker=self.marker)
        done = self.cluster.run("sbatch", *arguments, user=self.user, check=False)
        return read_submission(done.returncode, done.stdout, done.stderr)

    def evidence(self, native_id: str, *, claimed: bool, memory_mb: int | None = None) -> SlurmEvidence:
        """What the services would know of a launch now, the folder having nothing but its claim."""
        log = Path(launch_log(str(self.folder), native_id))
        return SlurmEvidence(
            now=time.time(),
            uid=self.user.uid,
            markers=frozenset({self.marker}),
            launches=[KnownLaunch(native_id, self.submitted_at)],
            files=Evidence(
                exists=True,
                claim=Claim(kind="runner", native_id=native_id) if claimed else None,
                runner_log_tail=log.read_text() if log.exists() else "",
            ),
            queue=queue_of(self.cluster, self.user),
            accounting=accounting_of(self.cluster, self.user, self.marker),
            accounting_kept=True,
            memory_mb=memory_mb,
        )

    def _write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        self._give(path)
        return str(path)

    def _give(self, path: Path) -> None:
        os.chown(path, self.user.uid, self.user.gid)


def query(cluster: SlurmCluster, user: UnixUser, *command: str) -> Done:
    settings = [f"{name}={value}" for name, value in QUERY_ENVIRONMENT.items()]
    return cluster.run("env", *settings, *command, user=user, check=False)


def queue_of(cluster: SlurmCluster, user: UnixUser) -> Queue:
    nonce = secrets.token_hex(16)
    done = query(cluster, user, "squeue", *squeue_arguments(nonce))
    assert done.returncode == 0, done.stderr
    return read_queue(done.stdout, nonce)


def accounting_of(cluster: SlurmCluster, user: UnixUser, marker: str) -> Accounting:
    nonce = secrets.token_hex(16)
    done = query(cluster, user, "sacct", *sacct_arguments(nonce, since=time.time() - 3600, names=[marker]))
    assert done.returncode == 0, done.stderr
    return read_accounting(done.stdout, nonce)


def accepted(submission: Submission) -> int:
    assert submission.job_id is not None, submission
    return submission.job_id


def needs_of(needs: dict[str, object], **request: object) -> UnitNeeds:
    default = {"partition": "main", "cpus_per_task": 1, "mem": "100M"}
    gpu = {"partition": "gpu", "extra_lines": ["#SBATCH --gres=gpu:v100:1"]}
    config = {"default_slurm_config": default, "gpu_slurm_config": gpu, "batching_config": _BATCHING}
    return merge_needs(
        msgspec.convert(config, SlurmRunnerConfig), msgspec.convert({"needs": needs, **request}, SchedulingRequest)
    )


def test_slurm_understands_the_script_as_it_was_meant(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _SAYS_WHAT_IT_IS)
    needs = needs_of(
        {"needs_gpu": True, "time": "20"},
        extra_lines=["export A='x y'", "#SBATCH --nice=3"],
        worker_init="#SBATCH --partition=main\nexport B=1\n",
    )
    job_id = accepted(site.submit(needs, batches=(5, 7), parallel=2))
    for task in (0, 2):
        shown = slurm_cluster.wait_for_job(f"{job_id}_{task}", "COMPLETED")
        assert (shown["Partition"], shown["NumCPUs"], shown["MinMemoryNode"]) == ("gpu", "2", "200M")
        assert (shown["TimeLimit"], shown["Requeue"], shown["Nice"]) == ("00:20:00", "0", "3")
        assert shown["TresPerNode"].endswith("gpu:v100:2")
        assert (shown["JobName"], shown["Comment"]) == (site.marker, site.marker)
        said = json.loads(Path(launch_log(str(site.folder), f"{job_id}_{task}")).read_text())
        arguments, folder, environment = said
        assert arguments == [f"{site.folder}/runner.py", "--slurm-base=5", f"{site.folder}/batches"]
        assert folder == str(site.folder)
        assert (environment["A"], environment["B"]) == ("x y", "1")
        assert environment["SLURM_ARRAY_TASK_ID"] == str(task)


def test_memory_per_cpu_and_further_options_arrive(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _WAITS)
    needs = msgspec.structs.replace(needs_of({"cpus_per_task": 2, "nodelist": "n1"}), memory_per_cpu=True)
    job_id = accepted(site.submit(needs, parallel=2))
    shown = slurm_cluster.wait_for_job(f"{job_id}_0", "RUNNING")
    assert (shown["NumCPUs"], shown["MinMemoryCPU"], shown["NodeList"]) == ("4", "50M", "n1")


def test_a_unit_with_two_nodes_gets_two(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _WAITS)
    job_id = accepted(site.submit(needs_of({"nodes": 2})))
    shown = slurm_cluster.wait_for_job(f"{job_id}_0", "RUNNING")
    assert (shown["NumNodes"], shown["NumTasks"]) == ("2", "2")


def test_queue_and_accounting_are_read_whatever_other_users_call_their_jobs(slurm_cluster: SlurmCluster) -> None:
    ada, grace = slurm_cluster.users.scientists
    site = Site(slurm_cluster, ada, _SAYS_WHAT_IT_IS)
    evil = f"x\n7_0\x1f{ada.uid}\x1fCOMPLETED\n"
    other = slurm_cluster.submit("sleep 100", "--job-name", evil, "--comment", evil, user=grace)
    job_id = accepted(site.submit(needs_of({})))

    def runs() -> bool:
        return [row.state.word for row in queue_of(slurm_cluster, ada).of(other)] == ["RUNNING"]

    slurm_cluster.wait_until(runs, "the other user's job runs")
    slurm_cluster.wait_for_job(f"{job_id}_0", "COMPLETED")
    slurm_cluster.wait_for_record(f"{job_id}_0", "COMPLETED")
    queue = queue_of(slurm_cluster, ada)
    assert (queue.broken, queue.noise) == (0, 0)
    (mine,) = queue.of(f"{job_id}_0")
    assert (mine.uid, mine.name, mine.comment, mine.state.word) == (ada.uid, site.marker, site.marker, "COMPLETED")
    (theirs,) = queue.of(other)
    assert (theirs.uid, theirs.name, theirs.state.kind) == (grace.uid, evil, "active")
    (recorded,) = accounting_of(slurm_cluster, ada, site.marker).of(f"{job_id}_0")
    assert (recorded.uid, recorded.exit_code, recorded.cpus) == (ada.uid, 0, 1)
    assert mine.submit is not None
    assert mine.submit == recorded.submit
    assert abs(mine.submit - site.submitted_at) < 60


def test_a_job_that_waits_tells_why_and_one_that_an_administrator_cancels_by_whom(
    slurm_cluster: SlurmCluster,
) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _WAITS)
    # One job at a time: the second batch waits.
    job_id = accepted(site.submit(needs_of({}, account=NARROW_ACCOUNT), batches=(0, 1)))
    notes: list[str] = []

    def waits() -> bool:
        waiting = judge_slurm(site.evidence(f"{job_id}_1", claimed=False), Graces())
        assert isinstance(waiting, GoOn)
        notes.append(waiting.note)
        return "the limit of the account or user on running jobs is reached (AssocMaxJobsLimit)" in waiting.note

    slurm_cluster.wait_until(waits, "it says why it waits", but=notes)
    slurm_cluster.administer("scancel", str(job_id))
    graces = Graces(files_seconds=0, accounting_seconds=600)
    verdicts: list[GoOn | End] = []

    def over() -> bool:
        verdicts.append(judge_slurm(site.evidence(f"{job_id}_1", claimed=False), graces))
        return isinstance(verdicts[-1], End)

    slurm_cluster.wait_until(over, "its end is known", but=verdicts)
    reason = verdicts[-1].ending.batch_reason
    assert (reason.code, reason.text) == ("cancelled", "the SLURM job was cancelled by an administrator (root)")


def test_memory_that_ran_out_is_recognised_without_cgroups(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _TAKES_MEMORY)
    job_id = accepted(site.submit(needs_of({})))
    slurm_cluster.wait_for_job(f"{job_id}_0", "FAILED")
    slurm_cluster.wait_for_record(f"{job_id}_0", "FAILED")
    verdict = judge_slurm(site.evidence(f"{job_id}_0", claimed=True, memory_mb=100), Graces(files_seconds=0))
    assert isinstance(verdict, End)
    assert verdict.ending.batch_reason.code == "out_of_memory"


def test_a_requeued_job_is_not_over_though_its_first_run_is_recorded_as_ended(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _WAITS)
    job_id = accepted(site.submit(needs_of({"nodelist": "n1"}), requeue=True))
    slurm_cluster.wait_for_job(f"{job_id}_0", "RUNNING")
    slurm_cluster.fail_node("n1")
    slurm_cluster.wait_for_job(f"{job_id}_0", "PENDING")
    slurm_cluster.wait_for_record(f"{job_id}_0", "NODE_FAIL", "REQUEUED", "PENDING")
    evidence = site.evidence(f"{job_id}_0", claimed=True)
    assert isinstance(judge_slurm(evidence, Graces(files_seconds=0, absent_seconds=0)), GoOn)


def test_what_sbatch_refuses_for_good_and_what_only_for_now_are_told_apart(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _WAITS)
    limited = needs_of({}, account=LIMITED_ACCOUNT)
    assert site.submit(limited, batches=(0, 1)).outcome == "accepted"
    full = site.submit(limited)
    assert (full.outcome, "AssocMaxSubmitJobLimit" in full.text) == ("not_now", True)
    for wrong, word in (
        (needs_of({}, account="nobodys"), "account"),
        (needs_of({}, extra_lines=["#SBATCH --partition=nowhere"]), "partition"),
        (needs_of({"gres": "gpu:h100:1"}), "configuration"),
        (needs_of({"constraint": "warp"}), "feature"),
        (needs_of({"nodelist": "nowhere"}), "node"),
    ):
        refused = site.submit(wrong)
        assert refused.outcome == "refused", refused
        assert word in refused.text


def test_an_array_above_the_limit_at_once_is_refused_only_for_now(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _WAITS)
    assert site.submit(needs_of({}, account=LIMITED_ACCOUNT), batches=(0, 1, 2)).outcome == "not_now"


def test_a_silent_controller_is_recognised_and_leaves_a_submission_in_doubt(slurm_cluster: SlurmCluster) -> None:
    site = Site(slurm_cluster, slurm_cluster.users.ada, _WAITS)
    slurm_cluster.daemons.controller.stop()
    with slurm_cluster.impatient():
        asked = query(slurm_cluster, site.user, "squeue", *squeue_arguments(secrets.token_hex(16)))
        assert asked.returncode != 0
        assert why_no_answer(asked.stderr) == "SLURM's controller cannot be reached"
        assert site.submit(needs_of({})).outcome == "doubtful"


def test_silent_accounting_is_recognised(slurm_cluster: SlurmCluster) -> None:
    assert slurm_cluster.daemons.accounting is not None
    slurm_cluster.daemons.accounting.process.stop()
    arguments = sacct_arguments(secrets.token_hex(16), since=time.time() - 60)
    asked = query(slurm_cluster, slurm_cluster.users.ada, "sacct", *arguments)
    assert asked.returncode != 0
    assert why_no_answer(asked.stderr), asked.stderr


@pytest.mark.parametrize("name", ["slurm_cluster", "bare_cluster"])
def test_the_settings_of_a_cluster_are_read(name: str, request: pytest.FixtureRequest) -> None:
    cluster: SlurmCluster = request.getfixturevalue(name)
    config = read_cluster_config(query(cluster, cluster.users.ada, "scontrol", "show", "config").stdout)
    assert config.name == cluster.name
    assert config.accounting == (cluster.daemons.accounting is not None)
    assert config.version is not None
    assert config.kill_wait_seconds == 2
    if name == "bare_cluster":
        assert config.min_job_age_seconds == 2
    shown = query(cluster, cluster.users.ada, "scontrol", "--all", "--oneliner", "show", "partition").stdout
    assert {partition.name for partition in read_partitions(shown)} == {one.name for one in cluster.plan.partitions}


_READ_THE_SAME = (
    "-Qn4",
    "-Qe/elsewhere",
    "-HQ -p main",
    "--j=x",
    "--jo x",
    "--lic=matlab:1",
    "--qos os",
    "--nodel=n1 --exclud=n2",
    "--exclude n2",
    "--mem=3",
    "--mem-b=none",
    "--nice=3 --exclusive",
    "-Qkoff",
    "--comment --nice",
    "-p=main",
    "--time-m=1",
    "--export-f=1",
)
_NOT_UNDERSTOOD = ("--n=1", "--excl=n2", "--hold=1", "--exclusive user", "-Qy4", "--no", "--qos", "-Qn")
# Not among the options that sbatch lists.
_UNLISTED = frozenset({"quiet"})


def test_options_are_read_as_sbatch_reads_them(slurm_cluster: SlurmCluster) -> None:
    def said_of(line: str) -> str:
        script = f"printf '#!/bin/sh\\n#SBATCH {line}\\n' | sbatch -vvv --test-only"
        done = slurm_cluster.run("sh", "-c", script, user=slurm_cluster.users.ada, check=False)
        return done.stdout + done.stderr

    for line in _READ_THE_SAME:
        ours = [one for one in read_options(line.split()) if isinstance(one, Option) and one.name not in _UNLISTED]
        said = said_of(line)
        defined = dict(re.findall(r"^sbatch: ([a-z-]+) +: (.*)$", said, re.MULTILINE))
        theirs = {name: value for name, value in defined.items() if name not in {"test-only", "verbose"}}
        assert theirs.keys() == {one.name for one in ours}, (line, said)
        for one in ours:
            # Some are shown in a form of SLURM's own.
            if one.name not in {"time-min", "no-kill"} and one.value is not None:
                assert theirs[one.name] == one.value, (line, said)
    for line in _NOT_UNDERSTOOD:
        assert any(isinstance(one, str) for one in read_options(line.split())), line
        assert re.search("ambiguous|doesn't allow|Invalid directive|invalid option|requires an arg", said_of(line)), (
            line
        )


def test_every_option_of_sbatch_is_known(slurm_cluster: SlurmCluster) -> None:
    names = set[str]()
    for letter in string.ascii_lowercase:
        done = slurm_cluster.run("sbatch", f"--{letter}=", user=slurm_cluster.users.ada, check=False)
        names.update(re.findall("'--([a-z-]+)'", done.stderr.partition("possibilities:")[2]))
    assert len(names) > 80
    assert names - LONG.keys() == set()
    for letter in set(string.ascii_letters) - SHORT.keys():
        done = slurm_cluster.run("sbatch", f"-{letter}", user=slurm_cluster.users.ada, check=False)
        assert "invalid option" in done.stderr, letter
