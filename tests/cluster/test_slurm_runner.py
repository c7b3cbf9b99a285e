"""The runner below a real SLURM: units' share of the allocation, SLURM's signals, a requeue."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.slurm.requests.needs import UnitNeeds
from tests.servers.slurm.cluster import SlurmCluster
from tests.workshop import processes_marked, records, soon
from tests.workshop.slurm_site import NEEDS, SYSTEM_PYTHON, ClusterJob, ClusterSite, ended, site_of

pytestmark = pytest.mark.anyio

_SHOWS_ITS_ENVIRONMENT = ["env"]
_IGNORES_TERM = ["sh", "-c", "trap '' TERM; touch started-{unit}; while :; do sleep 0.1; done"]
_MEET = "touch here-{unit}; until [ -e here-0 ] && [ -e here-1 ]; do sleep 0.02; done"
_SLEEPS = ["sh", "-c", "touch started-{unit}; exec sleep 1000"]


@pytest.fixture
async def site(slurm_cluster: SlurmCluster) -> AsyncIterator[ClusterSite]:
    async with site_of(slurm_cluster, slurm_cluster.users.ada) as made:
        yield made


def needs(**more: object) -> UnitNeeds:
    return msgspec.structs.replace(NEEDS, **more)


async def started(job: ClusterJob, count: int) -> None:
    await soon(lambda: len(list((job.path / "work").glob("started-*"))) >= count)


def variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


async def test_each_task_of_an_array_runs_its_own_batch(site: ClusterSite) -> None:
    job = await site.stage(["sh", "-c", "echo $SLURM_ARRAY_TASK_ID"], [{}] * 2, batches=5)
    array = await job.run(batches=(2, 4))
    for task in (0, 2):
        assert (await ended(site.cluster, f"{array}_{task}"))["JobState"] == "COMPLETED"
    found = await site.agent.find(job.place, [f"{index:05}" for index in range(5)])
    assert [name for name, one in found.items() if one.ended] == ["00002", "00004"]
    claim, end = found["00004"].claim, found["00004"].end
    assert claim is not None
    assert end is not None
    assert (claim.native_id, claim.restart) == (f"{array}_2", 0)
    assert (end.how, end.native_id, end.results, end.restart) == ("complete", f"{array}_2", 2, 0)
    assert job.log(4) == "2\n2\n"
    assert job.launch_log(f"{array}_2") == ""


async def test_units_see_what_the_resources_lines_exported_and_paths_in_their_users_cache(site: ClusterSite) -> None:
    exports = {"CELLPOSE_LOCAL_MODELS_PATH": "models/cellpose", "NAPARI_CONFIG": "napari.json"}
    job = await site.stage(_SHOWS_ITS_ENVIRONMENT, [{}], environment={"MINE": "1"}, exports=exports, cpus_per_unit=2)
    init = "export FROM_INIT='a b'\nexport MINE=init\nnot_exported=1"
    array = await job.run(needs=needs(worker_init=init, cpus=2))
    await ended(site.cluster, f"{array}_0")
    told = variables(job.log())
    cache = f"{site.user.home}/.cache/stoker"
    assert told["FROM_INIT"] == "a b"
    assert told["MINE"] == "1"
    assert told["CELLPOSE_LOCAL_MODELS_PATH"] == f"{cache}/models/cellpose"
    assert told["NAPARI_CONFIG"] == f"{cache}/napari.json"
    assert told["FRACTAL_CACHE_DIR"] == told["STOKER_CACHE_DIR"] == cache
    assert told["SLURM_JOB_ID"]
    assert told["HOME"] == str(site.user.home)
    assert (told["STOKER_CPUS"], told["OMP_NUM_THREADS"]) == ("2", "2")
    assert "not_exported" not in told


async def test_a_number_of_threads_that_somebody_chose_stays(site: ClusterSite) -> None:
    job = await site.stage(_SHOWS_ITS_ENVIRONMENT, [{}], cpus_per_unit=4)
    array = await job.run(needs=needs(worker_init="export OMP_NUM_THREADS=3"))
    await ended(site.cluster, f"{array}_0")
    told = variables(job.log())
    assert (told["STOKER_CPUS"], told["OMP_NUM_THREADS"]) == ("4", "3")


async def test_each_slot_sees_only_its_own_gpus(site: ClusterSite) -> None:
    script = (
        "echo $CUDA_VISIBLE_DEVICES; touch here-{unit}; until [ -e here-0 ] && [ -e here-1 ]; do sleep 0.02; done"
    )
    job = await site.stage(["sh", "-c", script], [{}] * 2, parallel=2, gpus_per_unit=2)
    array = await job.run(needs=needs(partition="gpu", gpus="2"), parallel=2)
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "COMPLETED"
    assert {job.log(slot=0), job.log(slot=1)} == {"0,1\n", "2,3\n"}


async def test_too_few_gpus_end_the_batch_with_the_reason_before_any_unit(site: ClusterSite) -> None:
    job = await site.stage(["touch", "ran"], [{}] * 2, parallel=2, gpus_per_unit=2)
    array = await job.run(needs=needs(partition="gpu", gpus="3"))
    await ended(site.cluster, f"{array}_0")
    assert job.end()["how"] == "interrupted"
    assert job.end()["reason"] == "the allocation has 3 GPUs, but 2 units at once, each with 2, need 4"
    assert not (job.path / "work" / "ran").exists()


async def test_a_runner_that_cannot_start_says_why_in_the_launchs_log(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}], format=99)
    array = await job.run()
    done = await ended(site.cluster, f"{array}_0")
    assert (done["JobState"], done["ExitCode"]) == ("FAILED", "78:0")
    found = await site.agent.find(job.place, ["00000"], {"00000": f"{array}_0"})
    assert "this runner knows format 1" in found["00000"].runner_log_tail


async def test_a_batch_folder_that_appears_late_is_waited_for(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}])
    hidden = job.path / "hidden"
    job.batch().rename(hidden)
    array = await job.run()
    await ended(site.cluster, f"{array}_0", "RUNNING")
    hidden.rename(job.batch())
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "COMPLETED"
    assert job.results()[0]["outcome"] == "succeeded"


@pytest.mark.parametrize("to", ["", "--batch", "--full"])
async def test_units_that_slurm_tells_to_end_are_interrupted_not_killed(site: ClusterSite, to: str) -> None:
    job = await site.stage(_SLEEPS, [{}] * 20, parallel=8, kill_grace_seconds=1)
    array = await job.run(needs=needs(cpus=1), parallel=8)
    await started(job, 8)
    options = ["--signal=TERM", to] if to else []
    site.cluster.administer("scancel", *options, f"{array}_0")
    await ended(site.cluster, f"{array}_0")
    await soon((job.batch() / "end.json").exists)
    assert {one["outcome"] for one in job.results().values()} == {"interrupted"}
    assert {one["reason"]["code"] for one in job.results().values()} == {"interrupted"}
    assert len(job.results()) == 8
    assert job.end()["how"] == "interrupted"
    assert "SIGTERM" in job.end()["reason"]


async def test_a_unit_that_dies_of_a_term_of_its_own_has_failed(site: ClusterSite) -> None:
    job = await site.stage(["sh", "-c", "kill -TERM $$"], [{}] * 3)
    array = await job.run()
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "COMPLETED"
    assert [one["signal"] for one in job.results().values()] == [15] * 3
    assert job.end()["how"] == "complete"


@pytest.mark.parametrize("how", ["cancelled", "killed"])
async def test_a_unit_that_ignores_term_does_not_outlive_its_batch(site: ClusterSite, how: str) -> None:
    job = await site.stage(_IGNORES_TERM, [{}] * 4, parallel=4, kill_grace_seconds=0.5)
    array = await job.run(parallel=4)
    await started(job, 4)
    options = ["--signal=KILL"] if how == "killed" else []
    site.cluster.administer("scancel", *options, f"{array}_0")
    await ended(site.cluster, f"{array}_0")
    await soon(lambda: not processes_marked(f"{job.mark}-0"))


async def test_the_time_limit_interrupts_units_and_slurm_says_timeout(site: ClusterSite) -> None:
    job = await site.stage(_SLEEPS, [{}] * 3, parallel=2)
    array = await job.run(needs=needs(time_seconds=3600), parallel=2)
    await started(job, 2)
    site.cluster.end_by_time_limit(f"{array}_0")
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "TIMEOUT"
    await soon((job.batch() / "end.json").exists)
    assert {one["outcome"] for one in job.results().values()} == {"interrupted"}
    assert job.end()["how"] == "interrupted"


async def test_the_warning_before_the_limit_interrupts_units_and_says_so(site: ClusterSite) -> None:
    job = await site.stage(_SLEEPS, [{}] * 3, parallel=2)
    array = await job.run(needs=needs(time_seconds=3600), parallel=2)
    await started(job, 2)
    site.cluster.administer("scancel", "--batch", "--signal=USR1", f"{array}_0")
    await ended(site.cluster, f"{array}_0")
    assert "SIGUSR1" in job.end()["reason"]
    assert {one["outcome"] for one in job.results().values()} == {"interrupted"}


async def requeued(site: ClusterSite, native_id: str) -> None:
    await asyncio.to_thread(site.cluster.administer, "scontrol", "requeue", native_id)


_ONCE_THEN_WAITS = """
echo {unit} >> ran
[ {unit} -lt 3 ] && exit {unit}
[ -e go ] && exit 0
touch started-{unit}
exec sleep 1000
"""


async def test_a_requeued_batch_runs_again_what_had_not_finished_and_nothing_else(site: ClusterSite) -> None:
    job = await site.stage(["sh", "-c", _ONCE_THEN_WAITS], [{}] * 6, parallel=2, max_restarts=1)
    array = await job.run(parallel=2, requeue=True)
    await started(job, 2)
    await requeued(site, f"{array}_0")
    await soon(lambda: site.cluster.job(f"{array}_0")["JobState"] != "RUNNING")
    (job.path / "work" / "go").touch()
    assert (await ended(site.cluster, f"{array}_0"))["Restarts"] == "1"

    outcomes = {(one["unit"], one["attempt"]): one["outcome"] for one in read_results(job)}
    assert outcomes == {
        (0, 1): "succeeded",
        (1, 1): "failed",
        (2, 1): "failed",
        (3, 1): "interrupted",
        (4, 1): "interrupted",
        (3, 2): "succeeded",
        (4, 2): "succeeded",
        (5, 1): "succeeded",
    }
    assert sorted((job.path / "work" / "ran").read_text().split()) == list("01233445")
    assert [one["restart"] for one in job.events() if one["event"] == "claimed"] == [0, 1]
    found = (await site.agent.find(job.place, ["00000"]))["00000"]
    assert found.claim is not None
    assert found.end is not None
    assert (found.claim.native_id, found.claim.restart) == (f"{array}_0", 1)
    assert (found.end.how, found.end.restart, found.end.results) == ("complete", 1, 8)


def read_results(job: ClusterJob) -> list[dict[str, object]]:
    return records(job.batch() / "results.jsonl")


async def test_a_batch_that_is_requeued_too_often_runs_nothing_more(site: ClusterSite) -> None:
    job = await site.stage(_SLEEPS, [{}] * 2)
    array = await job.run(requeue=True)
    await started(job, 1)
    await requeued(site, f"{array}_0")
    await soon(lambda: (job.batch() / "claim.r1").exists() and (job.batch() / "end.json").exists())
    await ended(site.cluster, f"{array}_0")
    assert (job.end()["how"], job.end()["reason"]) == ("interrupted", "requeued more often than allowed")
    assert len(job.results()) == 1


async def test_a_requeue_before_any_unit_has_begun_is_no_reason_to_run_nothing(site: ClusterSite) -> None:
    """As SLURM does it by itself with what it could not bring to its node."""
    job = await site.stage(["sh", "-c", "echo {unit} >> ran"], [{}] * 3)
    hold = '[ -n "$SLURM_RESTART_COUNT" ] || { touch waits; exec sleep 1000; }'
    array = await job.run(needs=needs(worker_init=f"cd {shlex.quote(str(job.path))}\n{hold}"), requeue=True)
    await soon((job.path / "waits").exists)
    await requeued(site, f"{array}_0")
    await soon(lambda: site.cluster.job(f"{array}_0")["JobState"] != "RUNNING")
    assert (await ended(site.cluster, f"{array}_0"))["Restarts"] == "1"
    assert (job.end()["how"], job.end()["restart"]) == ("complete", 1)
    assert (job.path / "work" / "ran").read_text().split() == ["0", "1", "2"]


async def test_the_time_of_a_unit_stands_still_while_its_job_is_suspended(site: ClusterSite) -> None:
    script = "touch started-{unit}; until [ -e go ]; do sleep 0.1; done"
    job = await site.stage(["sh", "-c", script], [{}], unit_time_seconds=4)
    array = await job.run()
    await started(job, 1)
    await asyncio.to_thread(site.cluster.administer, "scontrol", "suspend", f"{array}_0")
    await asyncio.sleep(6)  # longer than its time
    await asyncio.to_thread(site.cluster.administer, "scontrol", "resume", f"{array}_0")
    await asyncio.sleep(1)  # whoever would end it had the time to
    (job.path / "work" / "go").touch()
    await ended(site.cluster, f"{array}_0")
    assert job.results()[0]["outcome"] == "succeeded", job.results()


async def test_preemption_with_a_requeue_goes_on_where_it_stopped(site: ClusterSite) -> None:
    job = await site.stage(["sh", "-c", _ONCE_THEN_WAITS], [{}] * 4, max_restarts=2)
    array = await job.run(needs=needs(partition="requeued", cpus=2), requeue=True)
    await started(job, 1)
    (job.path / "work" / "go").touch()
    urgent = site.cluster.submit("true", "--partition=urgent", "--cpus-per-task=2", user=site.cluster.users.grace)
    await ended(site.cluster, urgent)
    assert (await ended(site.cluster, f"{array}_0", "COMPLETED"))["Restarts"] == "1"
    outcomes = [(one["unit"], one["attempt"], one["outcome"]) for one in read_results(job)]
    assert outcomes[-2:] == [(3, 1, "interrupted"), (3, 2, "succeeded")]


async def test_preemption_without_a_requeue_ends_the_batch(site: ClusterSite) -> None:
    job = await site.stage(_SLEEPS, [{}] * 2)
    array = await job.run(needs=needs(partition="cancelled", cpus=2))
    await started(job, 1)
    site.cluster.submit("true", "--partition=urgent", "--cpus-per-task=2", user=site.cluster.users.grace)
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "PREEMPTED"
    await soon((job.batch() / "end.json").exists)
    assert [one["outcome"] for one in job.results().values()] == ["interrupted"]


async def test_a_runner_that_is_killed_leaves_no_unit_behind(site: ClusterSite) -> None:
    job = await site.stage(_IGNORES_TERM, [{}] * 2, parallel=2)
    array = await job.run(parallel=2)
    await started(job, 2)
    os.kill(json.loads((job.batch() / "claim").read_text())["pid"], signal.SIGKILL)
    done = await ended(site.cluster, f"{array}_0")
    assert (done["JobState"], done["ExitCode"]) == ("FAILED", "137:0")
    await soon(lambda: not processes_marked(f"{job.mark}-0"))
    assert "the runner was killed by signal 9" in job.launch_log(f"{array}_0")


async def test_an_earlier_start_that_still_lives_notices_the_later_one_and_writes_nothing_more(
    site: ClusterSite,
) -> None:
    """As on a node that SLURM only thought dead: the earlier start is frozen while SLURM starts the launch again."""
    job = await site.stage(["sh", "-c", _ONCE_THEN_WAITS], [{}] * 6, max_restarts=1)
    environment = {**site.user.environment, "SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "70"}
    environment["SLURM_ARRAY_TASK_ID"] = "0"
    runner = [SYSTEM_PYTHON, "-I", "-S", str(job.path / "runner.py"), "--slurm-base=0", str(job.path / "batches")]

    def start(restart: int) -> subprocess.Popen[bytes]:
        more = {"SLURM_RESTART_COUNT": str(restart)} if restart else {}
        return subprocess.Popen(
            runner, env=environment | more, user=site.user.uid, group=site.user.gid, start_new_session=True
        )

    earlier = start(0)
    await started(job, 1)
    later = start(1)
    assert await asyncio.to_thread(earlier.wait, 60) == 79
    written = read_results(job)
    assert not any(one["outcome"] == "interrupted" for one in written)
    await soon(lambda: (job.path / "work" / "ran").read_text().split().count("3") == 2)
    (job.path / "work" / "go").touch()
    os.kill(next(iter(processes_marked(f"{job.mark}-0"))), signal.SIGINT)
    assert await asyncio.to_thread(later.wait, 60) == 0
    again = start(0)
    assert await asyncio.to_thread(again.wait, 60) == 79
    outcomes = [(one["unit"], one["attempt"], one["outcome"]) for one in read_results(job)]
    assert outcomes[-3:] == [(3, 2, "failed"), (4, 1, "succeeded"), (5, 1, "succeeded")]


async def test_a_line_that_was_cut_off_swallows_no_later_one(site: ClusterSite) -> None:
    job = await site.stage(["true"], [{}] * 3)
    for name in ("events.jsonl", "results.jsonl"):
        with (job.batch() / name).open("ab") as file:
            file.write(b'{"unit":99,"attem')
    array = await job.run()
    await ended(site.cluster, f"{array}_0")
    readable = [line for line in (job.batch() / "results.jsonl").read_bytes().splitlines() if line.endswith(b"}")]
    assert [json.loads(line)["unit"] for line in readable] == [0, 1, 2]
    assert job.end()["how"] == "complete"


async def test_units_as_steps_run_at_once_confined_to_their_share(site: ClusterSite) -> None:
    script = f"env | grep ^SLURM_; {_MEET}"
    job = await site.stage(["sh", "-c", script], [{}] * 2, parallel=2, step=True, cpus_per_unit=2, step_memory_mb=100)
    array = await job.run(needs=needs(cpus=2), parallel=2)
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "COMPLETED"
    assert {one["outcome"] for one in job.results().values()} == {"succeeded"}, job.log()
    told = [variables(job.log(slot=slot)) for slot in (0, 1)]
    assert {one["SLURM_STEP_ID"] for one in told} == {"0", "1"}
    assert [one["SLURM_CPUS_PER_TASK"] for one in told] == ["2", "2"]


async def test_steps_have_gpus_of_their_own(site: ClusterSite) -> None:
    script = f"echo $CUDA_VISIBLE_DEVICES; {_MEET}"
    job = await site.stage(["sh", "-c", script], [{}] * 2, parallel=2, step=True, cpus_per_unit=1, gpus_per_unit=2)
    array = await job.run(needs=needs(partition="gpu", gpus="2"), parallel=2)
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "COMPLETED", job.log()
    assert {job.log(slot=0), job.log(slot=1)} == {"0,1\n", "2,3\n"}


async def test_a_step_is_ended_with_its_unit(site: ClusterSite) -> None:
    job = await site.stage(_IGNORES_TERM, [{}], step=True, unit_time_seconds=1, kill_grace_seconds=0.5)
    array = await job.run()
    assert (await ended(site.cluster, f"{array}_0"))["JobState"] == "COMPLETED"
    assert job.results()[0]["reason"]["code"] == "time_limit"
    await soon(lambda: not processes_marked(f"{job.mark}-0"))
