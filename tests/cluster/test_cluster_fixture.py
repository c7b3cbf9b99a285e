"""What the private SLURM of the tests really does, feature by feature; other tests build on it.

What cannot be provoked here, and is tested with recorded answers instead:
- state OUT_OF_MEMORY: it needs the cgroup plugins. Memory is enforced all the same, by the accounting plugin, and
  looks like `FAILED`, `JobLaunchFailure`, `0:9` with the words in the job's standard error;
- BOOT_FAIL, REVOKED, SPECIAL_EXIT, STAGE_OUT, SIGNALING, RESIZING, STOPPED, REQUEUE_FED: no power control, no
  federation, no burst buffer here;
- confinement of a job to its CPUs, memory and devices: `proctrack/linuxproc` follows parents only, and a process that
  left its job's session may outlive it;
- a second controller that takes over, and several hosts: every node is this host, with one file system.
"""

import stat

import pytest

from tests.servers.process import ServerNotUsableError
from tests.servers.slurm.accounts import LIMITED_ACCOUNT, NARROW_ACCOUNT, SINGLE_QOS
from tests.servers.slurm.cluster import SlurmCluster

_TAKES_MEMORY = "exec python3 -c 'x = bytearray(200_000_000); import time; time.sleep(60)'"


def test_a_scientists_job_runs_as_that_scientist_in_a_home_that_the_service_user_cannot_read(
    slurm_cluster: SlurmCluster,
) -> None:
    users = slurm_cluster.users
    job = slurm_cluster.submit("id -un; exit 3", user=users.ada)
    ended = slurm_cluster.wait_for_job(job, "COMPLETED", "FAILED")
    assert (ended["JobState"], ended["Reason"], ended["ExitCode"]) == ("FAILED", "NonZeroExitCode", "3:0")
    output = users.ada.home / f"slurm-{job}.out"
    assert output.read_text() == f"{users.ada.name}\n"
    assert output.stat().st_uid == users.ada.uid
    assert stat.S_IMODE(users.ada.home.stat().st_mode) == 0o700
    assert slurm_cluster.run("ls", str(users.ada.home), user=users.stoker, check=False).returncode != 0
    assert slurm_cluster.wait_for_record(job, "FAILED")["User"] == users.ada.name


def test_an_array_has_an_element_per_index_with_ids_of_their_own(slurm_cluster: SlurmCluster) -> None:
    job = slurm_cluster.submit("exit $SLURM_ARRAY_TASK_ID", "--array=0-2", user=slurm_cluster.users.ada)
    codes = [slurm_cluster.wait_for_job(f"{job}_{index}", "COMPLETED", "FAILED")["ExitCode"] for index in range(3)]
    assert codes == ["0:0", "1:0", "2:0"]


def test_each_gpu_job_is_told_its_own_devices(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    options = ("--partition=gpu", "--gres=gpu:v100:2")
    jobs = [slurm_cluster.submit("echo $CUDA_VISIBLE_DEVICES; sleep 1", *options, user=ada) for _ in range(2)]
    told = set()
    for job in jobs:
        slurm_cluster.wait_for_job(job, "COMPLETED")
        told.add((ada.home / f"slurm-{job}.out").read_text().strip())
    assert told == {"0,1", "2,3"}


def test_accounting_names_who_cancelled(slurm_cluster: SlurmCluster) -> None:
    ada, grace = slurm_cluster.users.scientists
    by_owner, by_root = (slurm_cluster.submit("exec sleep 100", user=ada) for _ in range(2))
    for job in (by_owner, by_root):
        slurm_cluster.wait_for_job(job, "RUNNING")
    refused = slurm_cluster.run("scancel", by_owner, user=grace, check=False)
    assert "Access/permission denied" in refused.stderr
    slurm_cluster.run("scancel", by_owner, user=ada)
    slurm_cluster.administer("scancel", by_root)
    assert slurm_cluster.wait_for_record(by_owner, "CANCELLED")["State"] == f"CANCELLED by {ada.uid}"
    assert slurm_cluster.wait_for_record(by_root, "CANCELLED")["State"] == "CANCELLED by 0"


def test_a_job_that_ignores_term_is_killed_soon_after(slurm_cluster: SlurmCluster) -> None:
    job = slurm_cluster.submit("trap '' TERM; echo ready; while :; do sleep 0.1; done", user=slurm_cluster.users.ada)
    output = slurm_cluster.users.ada.home / f"slurm-{job}.out"
    slurm_cluster.wait_until(lambda: output.exists() and "ready" in output.read_text(), "the job ignores TERM")
    slurm_cluster.administer("scancel", job)
    assert slurm_cluster.wait_for_job(job, "CANCELLED")["ExitCode"] == "0:9"


def test_the_time_limit_and_a_dead_slurmd_end_jobs(slurm_cluster: SlurmCluster) -> None:
    """Both take half a minute, so they do it at the same time."""
    ada = slurm_cluster.users.ada
    on_time = slurm_cluster.submit("exec sleep 1000", "--nodelist=n1", user=ada)
    on_dead = slurm_cluster.submit("echo $$; exec sleep 1000", "--nodelist=n2", "--no-requeue", user=ada)
    for job in (on_time, on_dead):
        slurm_cluster.wait_for_job(job, "RUNNING")
    slurm_cluster.daemons.nodes["n2"].kill()
    slurm_cluster.end_by_time_limit(on_time)

    over = slurm_cluster.wait_for_job(on_time, "TIMEOUT")
    assert (over["Reason"], over["ExitCode"]) == ("TimeLimit", "0:15")
    assert "DUE TO TIME LIMIT" in (ada.home / f"slurm-{on_time}.out").read_text()
    lost = slurm_cluster.wait_for_job(on_dead, "NODE_FAIL")
    assert lost["Reason"] == "NodeDown"
    pid = (ada.home / f"slurm-{on_dead}.out").read_text().strip()
    comm = slurm_cluster.run("cat", f"/proc/{pid}/comm", user=ada).stdout
    assert comm == "sleep\n", "the job's process is alive although its state is final"


def test_a_node_that_is_set_down_fails_jobs_and_comes_back_when_resumed(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    fixed = slurm_cluster.submit("exec sleep 100", "--nodelist=n2", "--no-requeue", user=ada)
    slurm_cluster.wait_for_job(fixed, "RUNNING")
    slurm_cluster.fail_node("n2")
    assert slurm_cluster.wait_for_job(fixed, "NODE_FAIL")["Reason"] == "NodeDown"
    waiting = slurm_cluster.submit("true", "--nodelist=n2", user=ada)
    slurm_cluster.wait_until(
        lambda: slurm_cluster.job(waiting)["Reason"].startswith("ReqNodeNotAvail"), "the job waits for its node"
    )
    slurm_cluster.resume_node("n2")
    slurm_cluster.wait_for_job(waiting, "COMPLETED")


def test_a_requeued_job_keeps_its_id_and_starts_again_with_a_restart_count(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    script = 'echo "start ${SLURM_RESTART_COUNT:-0}"; [ -n "$SLURM_RESTART_COUNT" ] || exec sleep 100'
    job = slurm_cluster.submit(script, "--requeue", "--open-mode=append", user=ada)
    output = ada.home / f"slurm-{job}.out"
    slurm_cluster.wait_until(lambda: output.exists() and "start 0" in output.read_text(), "the first run has begun")
    slurm_cluster.administer("scontrol", "requeue", job)
    assert slurm_cluster.wait_for_job(job, "COMPLETED")["Restarts"] == "1"
    assert "start 1" in output.read_text()
    slurm_cluster.wait_for_record(job, "COMPLETED")
    records = [record for record in slurm_cluster.records(job) if record["JobID"] == job]
    assert [record["State"] for record in records] == ["REQUEUED", "COMPLETED"]
    assert records[0]["Submit"] < records[1]["Submit"], "a requeue is a new submit time"


def test_preemption_requeues_only_jobs_that_allow_it(slurm_cluster: SlurmCluster) -> None:
    ada, grace = slurm_cluster.users.scientists

    def preempted(partition: str, option: str) -> dict[str, str]:
        job = slurm_cluster.submit("exec sleep 100", f"--partition={partition}", "--exclusive", option, user=ada)
        slurm_cluster.wait_for_job(job, "RUNNING")
        urgent = slurm_cluster.submit("exec sleep 100", "--partition=urgent", "--exclusive", user=grace)
        slurm_cluster.wait_for_job(urgent, "RUNNING")
        after = slurm_cluster.wait_for_job(job, "PENDING", "PREEMPTED")
        slurm_cluster.administer("scancel", job, urgent)
        return after

    requeued = preempted("requeued", "--requeue")
    assert (requeued["JobState"], requeued["Restarts"]) == ("PENDING", "1")
    assert preempted("requeued", "--no-requeue")["JobState"] == "PREEMPTED"
    assert preempted("cancelled", "--requeue")["JobState"] == "PREEMPTED"


def test_a_job_over_its_memory_is_killed_and_says_so_in_its_output_only(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    job = slurm_cluster.submit(_TAKES_MEMORY, "--mem=50M", user=ada)
    ended = slurm_cluster.wait_for_job(job, "FAILED", "OUT_OF_MEMORY", "CANCELLED", "COMPLETED")
    assert (ended["JobState"], ended["Reason"], ended["ExitCode"]) == ("FAILED", "JobLaunchFailure", "0:9")
    assert "exceeded memory limit" in (ada.home / f"slurm-{job}.out").read_text()


def test_accounts_and_limits_refuse_and_delay(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada

    def refusal(*options: str) -> str:
        with pytest.raises(ServerNotUsableError) as caught:
            slurm_cluster.submit("true", *options, user=ada)
        return str(caught.value)

    assert "Invalid account or account/partition combination" in refusal("--account=nobody")
    slurm_cluster.submit("true", f"--account={LIMITED_ACCOUNT}", "--array=0-1", "--hold", user=ada)
    assert "AssocMaxSubmitJobLimit" in refusal(f"--account={LIMITED_ACCOUNT}")

    def waits_for(reason: str, job: str) -> None:
        slurm_cluster.wait_until(lambda: slurm_cluster.job(job)["Reason"] == reason, reason)

    for option, reason in (
        (f"--account={NARROW_ACCOUNT}", "AssocMaxJobsLimit"),
        (f"--qos={SINGLE_QOS}", "QOSMaxJobsPerUserLimit"),
    ):
        _, second = (slurm_cluster.submit("exec sleep 100", option, user=ada) for _ in range(2))
        waits_for(reason, second)
    waits_for("PartitionTimeLimit", slurm_cluster.submit("true", "--partition=short", "--time=10", user=ada))


def test_private_data_hides_the_jobs_of_others(slurm_cluster: SlurmCluster) -> None:
    ada, grace = slurm_cluster.users.scientists
    with slurm_cluster.settings(PrivateData="jobs", accounting={"PrivateData": "jobs"}):
        job = slurm_cluster.submit("true", user=ada)
        slurm_cluster.wait_for_record(job, "COMPLETED")
        queue = ("squeue", "-h", "--states=all", "-o", "%i")
        accounting = ("sacct", "-n", "-X", "-S", "now-1hour", "-j", job, "-o", "jobid", "--allusers")
        for user, visible in ((ada, True), (grace, False)):
            assert (job in slurm_cluster.run(*queue, user=user).stdout.split()) is visible
            assert (job in slurm_cluster.run(*accounting, user=user).stdout.split()) is visible
    assert job in slurm_cluster.run(*queue, user=grace).stdout.split()


def test_work_goes_on_while_controller_and_accounting_are_away(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    job = slurm_cluster.submit("until [ -e go ]; do sleep 0.1; done; echo done > ended", user=ada)
    slurm_cluster.wait_for_job(job, "RUNNING")
    accounting = slurm_cluster.daemons.accounting
    assert accounting is not None
    slurm_cluster.daemons.controller.stop()
    accounting.process.stop()
    refused = slurm_cluster.run("sacct", user=ada, check=False)
    assert (refused.returncode, "Connection refused" in refused.stderr) == (1, True)
    slurm_cluster.run("touch", "go", user=ada)
    slurm_cluster.wait_until((ada.home / "ended").exists, "the job has ended unseen")
    accounting.start()
    slurm_cluster.start_controller()
    slurm_cluster.wait_for_job(job, "COMPLETED")
    slurm_cluster.wait_for_record(job, "COMPLETED")


def test_a_killed_controller_gives_the_id_of_a_lost_job_to_another(slurm_cluster: SlurmCluster) -> None:
    """Ids recycle: the accounting then has records of two jobs under one id."""
    ada, grace = slurm_cluster.users.scientists

    def id_is_given_again() -> bool:
        first = slurm_cluster.submit("exec sleep 100", "--job-name=first", user=ada)
        slurm_cluster.daemons.controller.kill()
        slurm_cluster.start_controller()
        second = slurm_cluster.submit("true", "--job-name=second", user=grace)
        if first != second:  # the controller saved its state in between
            return False
        slurm_cluster.wait_until(
            lambda: {record["User"] for record in slurm_cluster.records(second)} >= {grace.name}, "sacct knows it"
        )
        assert slurm_cluster.job(second)["JobName"] == "second"
        return True

    slurm_cluster.wait_until(id_is_given_again, "an id is given twice")


def test_settings_can_change_for_a_test(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    with slurm_cluster.settings(restart=True, MaxArraySize=3):
        refused = slurm_cluster.run("sbatch", "--array=0-3", "--wrap=true", user=ada, check=False)
        assert "Invalid job array specification" in refused.stderr
    slurm_cluster.submit("true", "--array=0-3", user=ada)


def test_counted_programs_write_down_each_call_with_its_user(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    # The separators of a poll's format, and what a shell would take apart.
    words = ("squeue", "-h", "-o", "%i\x1f%T $HOME 'x'\n")
    slurm_cluster.run_counted(*words, user=ada)
    script = "#!/bin/sh\nsrun true\n"
    slurm_cluster.run_counted("sbatch", "--parsable", "-J", "", user=ada, standard_input=script)
    (squeue,) = slurm_cluster.commands.calls("squeue")
    assert squeue.arguments == words[1:]
    (sbatch,) = slurm_cluster.commands.calls("sbatch")
    assert (sbatch.uid, sbatch.arguments) == (ada.uid, ("--parsable", "-J", ""))
    slurm_cluster.wait_until(lambda: len(slurm_cluster.commands.calls("srun")) == 1, "the job's own srun is counted")
    slurm_cluster.commands.forget()
    assert slurm_cluster.commands.calls() == []


def test_a_test_can_answer_in_a_programs_place(slurm_cluster: SlurmCluster) -> None:
    ada = slurm_cluster.users.ada
    real = slurm_cluster.commands.real_program("sbatch")
    doubtful = f'#!/bin/sh\n{real} "$@" > /dev/null\necho "sbatch: error: Socket timed out" >&2\nexit 1\n'
    with slurm_cluster.commands.answer("sbatch", doubtful):
        words = ("sbatch", "--hold", "--job-name=doubt", "--wrap=true")
        answer = slurm_cluster.run_counted(*words, user=ada, check=False)
    assert (answer.returncode, answer.stderr) == (1, "sbatch: error: Socket timed out\n")
    assert slurm_cluster.run("squeue", "-h", "--name=doubt", "-o", "%j", user=ada).stdout == "doubt\n"


def test_sudo_lets_the_service_user_do_what_the_rule_says_and_nothing_else(slurm_cluster: SlurmCluster) -> None:
    users = slurm_cluster.users
    rule = f"{users.stoker.name} ALL=(%{users.group}) NOPASSWD: /usr/bin/id -un\n"

    def sudo(*words: str) -> tuple[int, str]:
        done = slurm_cluster.run_counted("sudo", "-n", *words, user=users.stoker, check=False)
        return done.returncode, done.stdout

    with pytest.raises(ServerNotUsableError, match="visudo refuses"):
        slurm_cluster.sudoers.write("services", "this is no rule\n")
    slurm_cluster.sudoers.write("services", rule)
    try:
        assert sudo("-u", users.ada.name, "--", "/usr/bin/id", "-un") == (0, f"{users.ada.name}\n")
        assert sudo("-u", users.ada.name, "--", "/usr/bin/id")[0] == 1
        assert sudo("--", "/usr/bin/id", "-un")[0] == 1
    finally:
        slurm_cluster.sudoers.remove("services")
    assert sudo("-u", users.ada.name, "--", "/usr/bin/id", "-un")[0] == 1
    assert len(slurm_cluster.commands.calls("sudo")) == 4


def test_a_command_that_sudo_starts_finds_the_cluster(slurm_cluster: SlurmCluster) -> None:
    users = slurm_cluster.users
    command = "/bin/sh -c squeue"
    slurm_cluster.sudoers.write("services", f"{users.stoker.name} ALL=(%{users.group}) NOPASSWD: {command}\n")
    slurm_cluster.lead_sudo_here(command)
    try:
        words = ("sudo", "-n", "-u", users.ada.name, "--", *command.split())
        assert "JOBID" in slurm_cluster.run_counted(*words, user=users.stoker).stdout
    finally:
        slurm_cluster.sudoers.remove("services")
    assert [call.uid for call in slurm_cluster.commands.calls("squeue")] == [users.ada.uid]


def test_the_bare_cluster_forgets_within_seconds_and_keeps_no_accounts(bare_cluster: SlurmCluster) -> None:
    ada = bare_cluster.users.ada
    job = bare_cluster.submit("true", user=ada)
    queue = ("squeue", "-h", "--states=all", "-o", "%i")
    bare_cluster.wait_until(lambda: job in bare_cluster.run(*queue, user=ada).stdout.split(), "the job is seen")
    bare_cluster.wait_until(lambda: bare_cluster.run(*queue, user=ada).stdout == "", "the job is forgotten")
    gone = bare_cluster.administer("scontrol", "show", "job", job, check=False)
    assert (gone.returncode, gone.stderr) == (1, "slurm_load_jobs error: Invalid job id specified\n")
    assert "Slurm accounting storage is disabled" in bare_cluster.run("sacct", user=ada, check=False).stderr
    too_many = bare_cluster.run("sbatch", "--array=0-4", "--wrap=true", user=ada, check=False)
    assert "Invalid job array specification" in too_many.stderr


def test_a_controller_that_is_away_says_nothing_about_jobs(bare_cluster: SlurmCluster) -> None:
    ada = bare_cluster.users.ada
    job = bare_cluster.submit("exec sleep 100", user=ada)
    bare_cluster.wait_for_job(job, "RUNNING")
    bare_cluster.daemons.controller.stop()
    with bare_cluster.impatient():
        answer = bare_cluster.run("squeue", "-h", user=ada, check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    bare_cluster.start_controller()
    assert bare_cluster.job(job)["JobState"] == "RUNNING"


def test_sbatch_may_time_out_and_have_queued_the_job(bare_cluster: SlurmCluster) -> None:
    ada = bare_cluster.users.ada
    with bare_cluster.settings(MessageTimeout=2):
        bare_cluster.daemons.controller.stall()
        try:
            answer = bare_cluster.run("sbatch", "--hold", "--job-name=doubt", "--wrap=true", user=ada, check=False)
        finally:
            bare_cluster.daemons.controller.wake()
        assert "Socket timed out on send/recv operation" in answer.stderr
        bare_cluster.wait_until(
            lambda: bare_cluster.run("squeue", "-h", "-o", "%j", user=ada, check=False).stdout == "doubt\n",
            "the job was queued all the same",
        )


def test_a_tidied_cluster_is_empty_and_idle(bare_cluster: SlurmCluster) -> None:
    ada = bare_cluster.users.ada
    stubborn = "trap '' TERM; setsid sleep 100 & echo ready; while :; do sleep 0.1; done"
    job = bare_cluster.submit(stubborn, user=ada)
    output = ada.home / f"slurm-{job}.out"
    bare_cluster.wait_until(lambda: output.exists() and output.read_text() != "", "the job has begun")
    alive = ("pgrep", "-u", ada.name, "-x", "sleep", "--runstates", "RSD")  # nobody may have waited for the dead yet
    bare_cluster.wait_until(lambda: bare_cluster.run(*alive, user=ada, check=False).stdout != "", "it sleeps")
    bare_cluster.fail_node("b2")
    bare_cluster.daemons.nodes["b1"].kill()
    bare_cluster.daemons.controller.kill()
    bare_cluster.tidy()
    assert bare_cluster.administer("squeue", "-h").stdout == ""
    bare_cluster.wait_until(
        lambda: bare_cluster.run(*alive, user=ada, check=False).stdout == "",
        "nothing of the job is left",
    )
