"""The executor dies at every durable step of a job's life, one after the other, and nothing is lost or done twice."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stoker.contracts.jobs import JobSubmit
from stoker.errors import Conflict, NotFound, Unavailable
from tests.stack.jobs import events_to_the_end, starts, submit_tracing
from tests.stack.running import RunningStack, wait_for
from tests.waiting import until

pytestmark = pytest.mark.anyio

SERVICE = Path(__file__).parents[2] / "services/executor"
POINTS = sorted(
    {
        name
        for file in SERVICE.rglob("*.py")
        for name in re.findall(r'failpoint\("((?:dispatcher|collector)\.[a-z_]+)"\)', file.read_text())
    }
)
WHEN_CANCELLING = {
    "dispatcher.before_revoke",
    "dispatcher.after_revoke",
    "dispatcher.revoked",
    "dispatcher.cancelled",
}


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("points")


@pytest.fixture(scope="module")
def failing_stack(tmp_path_factory: pytest.TempPathFactory, points: Path) -> Iterator[RunningStack]:
    stack = RunningStack(tmp_path_factory.mktemp("failing") / "state", environment={"STOKER_FAILPOINTS": str(points)})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def _died(stack: RunningStack, point: Path, pid: int) -> None:
    """Wait until the executor has passed the point and another one runs."""
    wait_for(lambda: not point.exists(), 120, stack.logs)
    stack.restarted("executor", pid)


@pytest.mark.parametrize("name", [point for point in POINTS if point not in WHEN_CANCELLING])
async def test_a_job_runs_once_although_the_executor_dies(
    failing_stack: RunningStack, points: Path, tmp_path: Path, name: str
) -> None:
    trace, pid = tmp_path / "trace", failing_stack.pid("executor")
    (points / name).touch()
    job = await submit_tracing(failing_stack, trace, units=6, seconds=0.1)
    await asyncio.to_thread(_died, failing_stack, points / name, pid)
    events = await events_to_the_end(failing_stack, job.id)
    assert events[-1].state == "succeeded"
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert starts(trace) == Counter(range(6))


@pytest.mark.parametrize("name", sorted(WHEN_CANCELLING))
async def test_a_job_is_cancelled_although_the_executor_dies(
    failing_stack: RunningStack, points: Path, tmp_path: Path, name: str
) -> None:
    trace, pid = tmp_path / "trace", failing_stack.pid("executor")
    job = await submit_tracing(failing_stack, trace, units=6, seconds=600)
    await asyncio.to_thread(wait_for, lambda: len(starts(trace)) == 4, 60, failing_stack.logs)
    (points / name).touch()
    async with failing_stack.executor() as executor:
        await executor.cancel(job.id)
    await asyncio.to_thread(_died, failing_stack, points / name, pid)
    events = await events_to_the_end(failing_stack, job.id)
    assert events[-1].state == "cancelled"
    assert events[-1].counts.cancelled == 6
    assert set(starts(trace).values()) == {1}


async def test_a_cancel_call_counts_although_the_executor_dies_before_it_answers(
    failing_stack: RunningStack, points: Path, tmp_path: Path
) -> None:
    pid, name = failing_stack.pid("executor"), "cancellation.stored"
    job = await submit_tracing(failing_stack, tmp_path / "trace", units=3, seconds=600)
    (points / name).touch()
    async with failing_stack.executor() as executor:
        with pytest.raises(Unavailable):
            await executor.cancel(job.id)
    await asyncio.to_thread(_died, failing_stack, points / name, pid)
    assert (await events_to_the_end(failing_stack, job.id))[-1].state == "cancelled"


@pytest.mark.parametrize("name", ["removal.folder", "removal.rows"])
async def test_a_job_is_removed_although_the_executor_dies(
    failing_stack: RunningStack, points: Path, tmp_path: Path, name: str
) -> None:
    job = await submit_tracing(failing_stack, tmp_path / "trace", units=2, seconds=0)
    await events_to_the_end(failing_stack, job.id)
    pid = failing_stack.pid("executor")
    (points / name).touch()
    async with failing_stack.executor() as executor:
        with pytest.raises(Unavailable):
            await executor.delete_job(job.id)
        await asyncio.to_thread(_died, failing_stack, points / name, pid)
        await asyncio.to_thread(failing_stack.ready)
        with suppress(NotFound):
            await executor.delete_job(job.id)
        with pytest.raises(NotFound):
            await executor.job(job.id)
    assert not (failing_stack.folder.jobs / job.folder).exists()


@pytest.mark.parametrize("name", ["holds.releasing", "holds.deleted"])
async def test_a_profile_that_no_job_needs_is_let_go_although_the_executor_dies(
    failing_stack: RunningStack, points: Path, name: str
) -> None:
    pid = failing_stack.pid("executor")
    async with failing_stack.registry() as registry, failing_stack.executor() as executor:
        resource = next(iter([found async for found in registry.resources()]))
        profile = await registry.create_profile(resource.id, {"resource_type": "local", "name": name})
        job = await executor.submit(JobSubmit(profile_id=profile.id, command=["true"], units=[{}]))
        await events_to_the_end(failing_stack, job.id)
        with pytest.raises(Conflict):
            await registry.delete_profile(profile.id)
        (points / name).touch()
        await executor.delete_job(job.id)
        await asyncio.to_thread(_died, failing_stack, points / name, pid)

        async def gone() -> bool:
            try:
                await registry.delete_profile(profile.id)
            except Conflict:
                return False
            return True

        await until(gone, "the end of the hold")


def test_every_point_is_walked_through() -> None:
    assert len(POINTS) > 12
    assert set(POINTS) >= WHEN_CANCELLING
