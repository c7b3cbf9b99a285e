"""Jobs beside a SLURM that keeps no accounts and forgets jobs two seconds after their end: patience decides."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.pipes.sudo.sudoers import sudoers_rule
from stoker.contracts.jobs import Batch, Job
from tests.waiting import until
from tests.workshop.sudo_site import SYSTEM_PYTHON, SudoSite

pytestmark = pytest.mark.anyio

WAITS = ["sh", "-c", "echo once >> trace-{unit}; until [ -e go ]; do sleep 0.1; done"]
SLEEPS = ["sh", "-c", "echo once >> trace-{unit}; exec sleep 1000"]
TIMED_OUT = 'echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1'
LOST_THE_CLAIM = "79"


@contextlib.contextmanager
def nobody_looks(site: SudoSite) -> Iterator[None]:
    """Inside, poller and executor stand still."""
    pids = [site.stack.stall(name) for name in ("poller", "executor")]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def forgotten(site: SudoSite, native_id: str) -> None:
    """Return when SLURM knows the array no more."""
    array = native_id.partition("_")[0]

    def gone() -> bool:
        said = site.cluster.administer("scontrol", "show", "job", array, check=False)
        return said.returncode != 0 and "Invalid job id" in said.stderr

    await until(lambda: asyncio.to_thread(gone), f"SLURM has forgotten {array}")


async def launched(site: SudoSite, job: Job) -> Batch:
    """The job's only batch, which SLURM has."""

    async def has_id() -> bool:
        return (await site.batches(job.id))[0].native_id is not None

    await until(has_id, "the batch was launched")
    return (await site.batches(job.id))[0]


def work_of(site: SudoSite, job: Job) -> Path:
    return site.job_folder(site.cluster.users.ada, job) / "work"


async def running(site: SudoSite, command: list[str], node: str = "b1") -> tuple[Job, Batch]:
    job = await site.submit(site.cluster.users.ada, command, needs={"nodelist": node})
    await site.until(job.id, "running")
    await until((work_of(site, job) / "trace-0").exists, "the unit has started")
    return job, await launched(site, job)


async def says(site: SudoSite, job: Job, words: str) -> None:
    async def told() -> bool:
        return words in ((await site.batches(job.id))[0].waiting_for or "")

    await until(told, f"the batch says: {words}")


async def test_a_user_of_a_directory_runs_jobs_under_the_name_that_it_has_there(bare_site: SudoSite) -> None:
    user = bare_site.newcomer("lab", suffix="\\Jürgen.m@example")
    service = bare_site.service_user.name
    bare_site.allow_by(sudoers_rule(service, [user.name], SYSTEM_PYTHON, str(bare_site.agent_file)))
    try:
        job = await bare_site.run(user, ["id", "-un"], profile_id=await bare_site.profile_of(user))
        assert (job.state, await bare_site.log(job.id)) == ("succeeded", f"{user.name}\n")
    finally:
        bare_site.allow()


async def test_a_job_that_was_forgotten_before_anybody_looked_ends_by_its_files(bare_site: SudoSite) -> None:
    job, batch = await running(bare_site, ["sh", "-c", "echo once >> trace-{unit}; sleep 1; echo 7 > {out_json}"])
    with nobody_looks(bare_site):
        await forgotten(bare_site, str(batch.native_id))
    assert (await bare_site.until(job.id)).state == "succeeded"
    (unit,) = await bare_site.units(job.id)
    assert (unit.output, (work_of(bare_site, job) / "trace-0").read_text()) == (7, "once\n")


@contextlib.contextmanager
def closed_partition(site: SudoSite) -> Iterator[None]:
    """Inside, no job starts."""
    site.cluster.administer("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        yield
    finally:
        site.cluster.administer("scontrol", "update", "PartitionName=main", "State=UP")


async def lost_after_the_grace(site: SudoSite, job: Job, seen_again: datetime) -> None:
    """The job's only unit ends as lost, by its absence, and not before the grace is over."""
    assert (await site.until(job.id)).state == "failed"
    (batch,), (unit,) = await site.batches(job.id), await site.units(job.id)
    assert unit.reason is not None
    assert (batch.state, unit.state, unit.reason.code) == ("lost", "lost", "vanished")
    assert "SLURM has shown no trace of it in the queue" in unit.reason.text
    assert after_the_grace(site, batch, seen_again)


def after_the_grace(site: SudoSite, batch: Batch, seen_again: datetime) -> bool:
    grace = timedelta(seconds=float(site.environment["STOKER_ABSENT_GRACE_SECONDS"]))
    return batch.ended_at is not None and batch.ended_at - seen_again >= grace


async def test_a_launch_that_vanished_from_the_queue_is_made_again_after_the_grace(bare_site: SudoSite) -> None:
    cluster, ada = bare_site.cluster, bare_site.cluster.users.ada
    with closed_partition(bare_site):
        job = await bare_site.submit(ada, ["sh", "-c", "echo once >> trace-{unit}"])
        batch = await launched(bare_site, job)
        with nobody_looks(bare_site):
            cluster.administer("scancel", str(batch.native_id))
            await forgotten(bare_site, str(batch.native_id))
            seen_again = datetime.now(UTC)
    assert (await bare_site.until(job.id)).state == "succeeded"
    assert (work_of(bare_site, job) / "trace-0").read_text() == "once\n"
    given_up, again = await bare_site.batches(job.id)
    assert (given_up.state, again.state) == ("lost", "ended")
    assert given_up.reason is not None
    assert given_up.reason.code == "vanished"
    assert "it had not started" in given_up.reason.text
    assert after_the_grace(bare_site, given_up, seen_again)
    assert '"revoked"' in (bare_site.job_folder(ada, job) / "batches/00000/claim").read_text()


async def test_a_batch_that_vanished_while_it_ran_is_lost_only_after_the_grace(bare_site: SudoSite) -> None:
    """Its runner died so suddenly that it left no word."""
    job, batch = await running(bare_site, SLEEPS)
    folder = bare_site.job_folder(bare_site.cluster.users.ada, job) / "batches/00000"
    with nobody_looks(bare_site):
        # No file can be written any more, whatever the runner still tries.
        os.chown(folder, 0, -1)
        folder.chmod(0o755)
        bare_site.cluster.administer("scancel", "--signal=KILL", "--full", str(batch.native_id))
        bare_site.cluster.administer("scancel", "--quiet", str(batch.native_id), check=False)
        await forgotten(bare_site, str(batch.native_id))
        assert not (folder / "end.json").exists()
        os.chown(folder, bare_site.cluster.users.ada.uid, -1)
        folder.chmod(0o700)
        seen_again = datetime.now(UTC)
    await lost_after_the_grace(bare_site, job, seen_again)


async def test_an_end_record_that_comes_after_slurms_end_decides(bare_site: SudoSite) -> None:
    """A node that SLURM thinks dead has forgotten nothing: its runner goes on and writes its end."""
    cluster, ada = bare_site.cluster, bare_site.cluster.users.ada
    job, _ = await running(bare_site, WAITS, node="b1")
    node = cluster.daemons.nodes["b1"]
    await asyncio.to_thread(node.kill)
    try:
        await asyncio.to_thread(cluster.fail_node, "b1")
        await says(bare_site, job, "SLURM says NODE_FAIL; the last words of the batch are awaited")
        assert not (bare_site.job_folder(ada, job) / "batches/00000/end.json").exists()
        (work_of(bare_site, job) / "go").touch()
        final = await bare_site.until(job.id)
    finally:
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(cluster.resume_node, "b1")
    assert (final.state, final.counts.succeeded) == ("succeeded", 1)


@contextlib.asynccontextmanager
async def second_launch_of(site: SudoSite) -> AsyncGenerator[tuple[Job, str]]:
    """A job whose first sbatch queued it and said that it timed out, and whose second one runs.

    The first launch is held in the queue, of which nobody but its administrator knows inside; its number is yielded.
    """
    cluster, ada = site.cluster, site.cluster.users.ada
    real, once = cluster.commands.real_program, cluster.folder / "held-once"
    held = (
        f'#!/bin/sh\nif [ "$1" != --version ] && mkdir {once} 2>/dev/null; then\n'
        f'{real("sbatch")} --hold "$@" > /dev/null; {TIMED_OUT}; fi\nexec {real("sbatch")} "$@"\n'
    )
    # The first launch of a job is named by the job's id and -0.
    hides = f"#!/bin/sh\n{real('squeue')} \"$@\" | grep -vE '[0-9a-z]{{26}}-0([^0-9]|$)'\nexit 0\n"
    cluster.folder.chmod(0o777)  # the scientist leaves the mark
    try:
        with cluster.commands.answer("sbatch", held), cluster.commands.answer("squeue", hides):
            job = await site.submit(ada, WAITS)
            await until((work_of(site, job) / "trace-0").exists, "the second launch runs")
            names = cluster.administer("squeue", "-h", "-o", "%F %j").stdout.split("\n")
            (first,) = [line.split()[0] for line in names if line.endswith(f"{job.id}-0")]
        yield job, first
    finally:
        cluster.folder.chmod(0o755)
        shutil.rmtree(once, ignore_errors=True)


def queue_of(site: SudoSite, job: Job) -> list[str]:
    """What SLURM still holds of a job."""
    said = site.cluster.administer("squeue", "-h", "-o", "%F %j").stdout.splitlines()
    return [line for line in said if job.id in line]


async def test_of_two_launches_one_runs_and_the_other_decides_nothing(bare_site: SudoSite) -> None:
    cluster, ada = bare_site.cluster, bare_site.cluster.users.ada
    async with second_launch_of(bare_site) as (job, first):
        cluster.administer("scontrol", "release", first)
        shown = await asyncio.to_thread(cluster.wait_for_job, f"{first}_0", "FAILED")
        assert shown["ExitCode"] == f"{LOST_THE_CLAIM}:0"
        folder = bare_site.job_folder(ada, job)
        assert (folder / f"batches/00000/lost-claim.{first}_0").exists()
        assert (await bare_site.until(job.id, "running")).counts.running == 1
        (work_of(bare_site, job) / "go").touch()
        final = await bare_site.until(job.id)
    assert (final.state, final.counts.succeeded) == ("succeeded", 1)
    assert (work_of(bare_site, job) / "trace-0").read_text() == "once\n"


async def test_a_launch_that_appeared_too_late_is_taken_out_of_the_queue(bare_site: SudoSite) -> None:
    async with second_launch_of(bare_site) as (job, first):
        assert [line.split()[0] for line in queue_of(bare_site, job)].count(first) == 1
        (work_of(bare_site, job) / "go").touch()
        assert (await bare_site.until(job.id)).state == "succeeded"
    await until(lambda: not queue_of(bare_site, job), "nothing of the job is left in the queue")
    assert (work_of(bare_site, job) / "trace-0").read_text() == "once\n"


async def test_cancelling_a_job_ends_the_launch_that_nobody_had_heard_of_too(bare_site: SudoSite) -> None:
    async with second_launch_of(bare_site) as (job, _):
        async with bare_site.stack.executor() as executor:
            await executor.cancel(job.id)
        assert (await bare_site.until(job.id)).state == "cancelled"
    await until(lambda: not queue_of(bare_site, job), "nothing of the job is left in the queue")


async def test_a_job_that_slurm_has_forgotten_can_be_cancelled(bare_site: SudoSite) -> None:
    cluster = bare_site.cluster
    with closed_partition(bare_site):
        job = await bare_site.submit(cluster.users.ada, SLEEPS)
        await says(bare_site, job, "partition")
        poller = bare_site.stack.stall("poller")
        try:
            batch = await launched(bare_site, job)
            cluster.administer("scancel", str(batch.native_id))
            await forgotten(bare_site, str(batch.native_id))
            async with bare_site.stack.executor() as executor:
                await executor.cancel(job.id)
            assert (await bare_site.until(job.id)).state == "cancelled"
        finally:
            os.kill(poller, signal.SIGCONT)
