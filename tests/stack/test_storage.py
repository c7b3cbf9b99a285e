"""Jobs whose folder cannot be written: a clear reason, services that go on, and a way on for the job."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.embedded.preparation import first_resource
from stoker.contracts.jobs import Job, JobSubmit
from tests.stack.jobs import events_to_the_end
from tests.stack.running import RunningStack

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(filler: Path) -> None:
    """Write to a file until the disk is full."""
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)


async def submit_into(stack: RunningStack, jobs: Path) -> Job:
    """A job of one unit on a new resource with this folder."""
    spec = first_resource(stack.folder, "/usr/bin/python3", "3.11") | {"name": str(jobs), "jobs_local_dir": str(jobs)}
    async with stack.registry() as registry, stack.executor() as executor:
        resource = await registry.create_resource(spec)
        profile = await registry.create_profile(resource.id, {"resource_type": "local", "name": str(jobs)})
        return await executor.submit(JobSubmit(profile_id=profile.id, command=["true"], units=[{}]))


async def waits_for(stack: RunningStack, job_id: str, words: str) -> None:
    async with asyncio.timeout(120), stack.executor() as executor:
        while words not in ((await executor.job(job_id)).waiting_for or ""):
            await asyncio.sleep(0.1)


async def test_a_job_waits_for_a_full_disk_says_so_and_can_be_cancelled(
    stack: RunningStack, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    fill(filler)
    job = await submit_into(stack, small_disk)
    await waits_for(stack, job.id, "No space left on device")
    async with stack.executor() as executor:
        await executor.cancel(job.id)
    events = await events_to_the_end(stack, job.id)
    assert events[-1].state == "cancelled"
    filler.unlink()
    async with stack.executor() as executor:
        again = await executor.rerun(job.id)
    assert (await events_to_the_end(stack, again.id))[-1].state == "succeeded"


async def test_a_job_goes_on_by_itself_when_there_is_room_again(stack: RunningStack, small_disk: Path) -> None:
    filler = small_disk / "filler"
    fill(filler)
    job = await submit_into(stack, small_disk)
    await waits_for(stack, job.id, "No space left on device")
    filler.unlink()
    assert (await events_to_the_end(stack, job.id))[-1].state == "succeeded"


async def test_a_job_in_an_unwritable_folder_fails_and_says_why(stack: RunningStack, small_disk: Path) -> None:
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", str(small_disk)], check=True)
    job = await submit_into(stack, small_disk)
    events = await events_to_the_end(stack, job.id)
    assert events[-1].state == "failed"
    async with stack.executor() as executor:
        unit = await executor.unit(job.id, 0)
    assert unit.reason is not None
    assert unit.reason.code == "staging_failed"
    assert "Read-only file system" in unit.reason.text
    assert stack.run("jobs").code == 0
