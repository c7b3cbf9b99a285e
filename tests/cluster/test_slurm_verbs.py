"""The agent's SLURM verbs on a real cluster: what is asked once happens once, whatever is repeated or killed."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.pipes import AgentConnection, Place, Refused, StagedFile
from shared.slurm.answers.cluster import read_cluster_config, read_partitions
from shared.slurm.answers.queue import read_queue, squeue_arguments
from shared.slurm.answers.submission import read_submission
from shared.slurm.requests.script import sbatch_arguments, script_path, split_array
from stoker.errors import Invalid
from tests.servers.slurm.cluster import SlurmCluster
from tests.workshop import soon
from tests.workshop.slurm_site import ClusterSite, accepted, ended, pid_of_agent, site_of, start_agent

pytestmark = pytest.mark.anyio

_SLOW = """#!/bin/sh
touch {folder}/called
while [ ! -e {folder}/go ]; do sleep 0.02; done
exec /usr/bin/sbatch "$@"
"""


@pytest.fixture
async def site(slurm_cluster: SlurmCluster) -> AsyncIterator[ClusterSite]:
    async with site_of(slurm_cluster, slurm_cluster.users.ada) as made:
        yield made


@pytest.fixture
def slow_sbatch(slurm_cluster: SlurmCluster) -> Path:
    """A folder: the file `called` shows that sbatch was started, the file `go` lets it work."""
    folder = slurm_cluster.folder / f"slow-{secrets.token_hex(4)}"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


async def test_a_job_is_submitted_once_however_often_it_is_asked_for(site: ClusterSite) -> None:
    job = await site.stage(["sh", "-c", "echo x >> ran"], [{}])
    before = time.time()
    answers = [await job.submit(marker="stoker-one") for _ in range(2)]
    answers += await asyncio.gather(*(job.submit(marker="stoker-one") for _ in range(5)))

    assert all(one == answers[0] for one in answers)
    assert (answers[0].exit_code, answers[0].under_way) == (0, False)
    assert before - 1 < answers[0].submitted_at <= time.time()
    assert len(site.cluster.commands.calls("sbatch")) == 1
    array = accepted(answers[0])
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "COMPLETED"
    assert (job.path / "work" / "ran").read_text() == "x\n"


async def test_requests_at_the_same_moment_start_one_sbatch(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}])
    async with site_of(site.cluster, site.user) as other:
        twin = type(job)(other, job.place.name)
        answers = await asyncio.gather(*(one.submit(marker="m", options=["--hold"]) for one in (job, twin) * 8))
    assert len({one.stdout for one in answers}) == 1
    assert len(site.cluster.commands.calls("sbatch")) == 1


async def test_a_refusal_is_told_in_slurms_words_and_repeated(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}])
    first = await job.submit(marker="bad", options=["--account=nobody"])
    again = await job.submit(marker="bad", options=["--account=nobody"])
    assert read_submission(first.exit_code, first.stdout, first.stderr).outcome == "refused"
    assert "account" in first.stderr
    assert again == first


async def test_sbatch_outlives_the_agent_that_is_killed_and_its_answer_is_found(
    site: ClusterSite, slow_sbatch: Path
) -> None:
    job = await site.stage(["true"], [{}])
    with site.cluster.commands.answer("sbatch", _SLOW.format(folder=slow_sbatch)):
        asked = asyncio.create_task(job.submit(marker="m", options=["--hold"]))
        await soon((slow_sbatch / "called").exists)
        os.kill(pid_of_agent(site), signal.SIGKILL)
        with pytest.raises(Exception, match="closed by the other side"):
            await asked
        async with site_of(site.cluster, site.user) as other:
            twin = type(job)(other, job.place.name)
            repeated = asyncio.create_task(twin.submit(marker="m", options=["--hold"]))
            await asyncio.sleep(0)
            (slow_sbatch / "go").touch()
            seen = await repeated
    assert (seen.exit_code, seen.under_way) == (None, False)
    assert site.cluster.job(f"{accepted(seen)}_0")["JobState"] == "PENDING"
    assert len(site.cluster.commands.calls("sbatch")) == 1


async def test_an_sbatch_that_does_not_end_is_under_way_and_nothing_else_waits_for_it(
    site: ClusterSite, slow_sbatch: Path
) -> None:
    job = await site.stage(["true"], [{}])
    with site.cluster.commands.answer("sbatch", _SLOW.format(folder=slow_sbatch)):
        asked = asyncio.create_task(job.submit(marker="m", options=["--hold"], wait_seconds=2))
        await soon((slow_sbatch / "called").exists)
        assert (await site.agent.queue(["--noheader"])).exit_code == 0
        seen = await asked
        assert (seen.exit_code, seen.stdout, seen.under_way) == (None, "", True)
        (slow_sbatch / "go").touch()
        accepted(await job.submit(marker="m", options=["--hold"]))


async def test_an_intent_without_an_answer_is_never_submitted_again(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}])
    (job.path / "launches").mkdir()
    os.chown(job.path / "launches", site.user.uid, site.user.gid)
    (job.path / "launches" / "m.intent").write_text('{"submitted_at": 5.5}')
    os.chown(job.path / "launches" / "m.intent", site.user.uid, site.user.gid)
    seen = await job.submit(marker="m")
    assert (seen.exit_code, seen.stdout, seen.under_way, seen.submitted_at) == (None, "", False, 5.5)
    assert site.cluster.commands.calls("sbatch") == []


async def test_the_job_gets_a_clean_environment_and_the_folder_stays_private(
    slurm_cluster: SlurmCluster,
) -> None:
    ada = slurm_cluster.users.ada
    pipe = await start_agent(
        ada,
        slurm_cluster.folder / "agent.py",
        slurm_cluster.commands.path,
        SBATCH_ACCOUNT="nobody",
        SLURM_HINT="x",
        SECRET_OF_A_SERVICE="y",
    )
    agent = await AgentConnection.open(pipe, {"jobs": "~/private"})
    job = await ClusterSite(slurm_cluster, ada, agent).stage(["sh", "-c", "umask; touch made"], [{}])
    array = await job.run()
    assert (await ended(slurm_cluster, f"{array}_0"))["JobState"] == "COMPLETED", job.launch_log(f"{array}_0")
    await agent.close()
    assert slurm_cluster.job(f"{array}_0")["Account"] == "science"
    assert job.log() == "0022\n"
    assert (job.path / "work" / "made").stat().st_uid == ada.uid
    for path in (job.path, job.path / "launches", job.path / "slurm"):
        assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("arguments", "marker"),
    [
        (["--parsable", "/etc/passwd"], "m"),
        (["--parsable"], "m"),
        ([], "m"),
        (["-J", "x", "{script}"], "m"),
        (["--", "{script}"], "m"),
        (["--parsable", "{script}"], "../m"),
        (["--parsable", "{script}"], "-m"),
        (["--parsable", "{script}"], ""),
    ],
)
async def test_only_its_own_script_is_submitted(site: ClusterSite, arguments: list[str], marker: str) -> None:
    job = await site.stage(["true"], [{}])
    words = [one.format(script=script_path(str(job.path), marker)) for one in arguments]
    with pytest.raises(Invalid):
        await site.agent.submit(job.place, marker=marker, script="#!/bin/sh\n", arguments=words)
    assert site.cluster.commands.calls("sbatch") == []
    assert not (job.path / "launches").exists()


async def test_one_scancel_ends_all_launches_and_those_that_are_gone_do_no_harm(site: ClusterSite) -> None:
    job = await site.stage(["sleep", "1000"], [{}], batches=4)
    waiting = await job.run(batches=(0, 1, 2, 3), options=["--hold"])
    other = await site.stage(["true"], [{}])
    past = await other.run()
    await ended(site.cluster, f"{past}_0")
    ids = [f"{waiting}_{task}" for task in (0, 1, 3)]
    said = await site.agent.scancel([*ids, f"{past}_0", "999999", "999998_7"])

    assert said.exit_code == 0, said
    (call,) = site.cluster.commands.calls("scancel")
    assert f"{waiting}_[0-1,3]" in call.arguments
    left = site.cluster.administer("squeue", "-h", "-r", "--states=PENDING,RUNNING,COMPLETING", "-o", "%i").stdout
    assert left.split() == [f"{waiting}_2"]
    assert (await site.agent.scancel(ids)).exit_code == 0
    assert (await site.agent.scancel([])).exit_code == 0
    with pytest.raises(ValueError, match="not a launch"):
        await site.agent.scancel(["1", "--user=root"])


async def test_jobs_of_others_are_not_cancelled_and_slurm_says_so(site: ClusterSite) -> None:
    theirs = site.cluster.submit("sleep 1000", "--hold", user=site.cluster.users.grace)
    said = await site.agent.scancel([theirs])
    assert said.exit_code
    assert "denied" in said.stderr
    assert site.cluster.job(theirs)["JobState"] == "PENDING"


async def test_the_queue_and_the_accounting_are_told_as_slurm_says_them(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}], batches=3)
    array = await job.run(batches=(0, 1, 2), options=["--hold"])
    nonce = secrets.token_hex(16)
    said = await site.agent.queue(squeue_arguments(nonce))
    assert (said.exit_code, said.stderr) == (0, "")
    queue = read_queue(said.stdout, nonce)
    assert [row.user for row in queue.of(f"{array}_1")] == [site.user.name]
    assert queue.of(f"{array}_1")[0].submit is not None
    refused = await site.agent.account(["--format=NoSuchField"])
    assert refused.exit_code
    assert "NoSuchField" in refused.stderr
    assert (await site.agent.account(["--noheader", "--parsable2", "--format=JobID"])).exit_code == 0


async def test_a_controller_that_is_away_is_no_answer_and_no_error_of_the_agent(site: ClusterSite) -> None:
    answer = '#!/bin/sh\necho "slurm_load_jobs error: Unable to contact slurm controller" >&2\nexit 1\n'
    with site.cluster.commands.answer("squeue", answer):
        said = await site.agent.queue([])
    assert said.exit_code == 1
    assert "Unable to contact" in said.stderr


async def test_a_query_that_takes_too_long_is_ended_and_so_is_one_whose_pipe_is_closed(site: ClusterSite) -> None:
    mark = site.cluster.folder / f"pids-{secrets.token_hex(4)}"
    mark.touch()
    mark.chmod(0o666)
    answer = f"#!/bin/sh\necho $$ >> {mark}\necho half\nexec sleep 1000\n"
    with site.cluster.commands.answer("squeue", answer):
        said = await site.agent.queue([], timeout_seconds=1)
        assert (said.exit_code, said.stdout) == (None, "half\n")
        assert "squeue was ended: it had not ended after 1 seconds" in said.stderr
        asked = asyncio.create_task(site.agent.queue([]))
        await soon(lambda: len(mark.read_text().split()) == 2)
        await site.agent.close()
        with pytest.raises(Exception, match="closed"):
            await asked
    for pid in mark.read_text().split():
        await soon(lambda pid=pid: not Path(f"/proc/{pid}").exists())


async def test_an_answer_of_many_megabytes_comes_whole_and_an_endless_one_is_cut(site: ClusterSite) -> None:
    with site.cluster.commands.answer("squeue", "#!/bin/sh\nexec head -c 30000000 /dev/zero\n"):
        said = await site.agent.queue([])
        assert (said.exit_code, len(said.stdout)) == (0, 30_000_000)
    with site.cluster.commands.answer("squeue", "#!/bin/sh\nexec cat /dev/zero\n"):
        said = await site.agent.queue([])
    assert said.exit_code is None
    assert "it printed more than" in said.stderr
    assert len(said.stdout) <= 64 * 1024 * 1024


async def test_what_the_cluster_is_like_is_asked_at_once(site: ClusterSite) -> None:
    said = await site.agent.cluster()
    assert said.version.stdout.startswith("slurm")
    assert read_cluster_config(said.config.stdout).max_array_size == 1001
    assert {"main", "gpu"} <= {one.name for one in read_partitions(said.partitions.stdout)}
    rows = [line.split("|") for line in said.associations.stdout.splitlines()]
    assert {"science", "limited"} <= {row[1] for row in rows}
    assert next(row for row in rows if row[1] == "limited")[6] == "2"


async def test_without_accounting_the_associations_say_why_they_are_missing(bare_cluster: SlurmCluster) -> None:
    async with site_of(bare_cluster, bare_cluster.users.ada) as bare:
        said = await bare.agent.cluster()
    assert said.associations.exit_code
    assert said.associations.stderr
    assert read_cluster_config(said.config.stdout).max_array_size == 4


async def test_a_host_without_slurm_is_told_by_the_program_that_is_missing(
    slurm_cluster: SlurmCluster,
) -> None:
    ada = slurm_cluster.users.ada
    pipe = await start_agent(ada, slurm_cluster.folder / "agent.py", "/nowhere/bin")
    agent = await AgentConnection.open(pipe, {"jobs": "~/jobs"})
    job = Place("jobs", "a")
    await agent.stage(job, [StagedFile("runner.py", b"")])
    folder = f"{agent.hello.roots['jobs']}/a"
    path = script_path(folder, "m")
    (part,) = split_array([0], 10)
    arguments = sbatch_arguments(part, script=path, job_folder=folder, marker="m")
    with pytest.raises(Refused, match=r"program sbatch is not on this host \(looked in /nowhere/bin\)"):
        await agent.submit(job, marker="m", script="#!/bin/sh\n", arguments=arguments)
    with pytest.raises(Refused, match="program squeue"):
        await agent.queue([])
    with pytest.raises(Refused, match="program sacct"):
        await agent.account([])
    with pytest.raises(Refused, match="program scancel"):
        await agent.scancel(["1"])
    with pytest.raises(Refused, match="program sbatch"):
        await agent.cluster()
    await agent.close()


async def test_what_a_launch_printed_is_evidence_where_there_is_no_log_of_a_runner(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}])
    (job.path / "slurm").mkdir()
    (job.path / "slurm" / "7_0.log").write_text("x" * 50_000 + "the interpreter is not there")
    os.chown(job.path / "slurm", site.user.uid, site.user.gid)
    found = await site.agent.find(job.place, ["00000"], {"00000": "7_0"})
    assert found["00000"].runner_log_tail.endswith("x" * 1000 + "the interpreter is not there")
    assert len(found["00000"].runner_log_tail) == 2000
    assert (await site.agent.find(job.place, ["00000"], {"00000": "8_0"}))["00000"].runner_log_tail == ""
    with pytest.raises(Invalid):
        await site.agent.find(job.place, ["00000"], {"00000": "../../x"})
