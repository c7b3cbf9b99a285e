"""Two executors on one database: a job runs once whoever takes it, and the living go on with the work of the dead."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from stoker.clients import ExecutorClient
from tests.compose.containers import RunningContainers
from tests.over_http.address import READY_SECONDS, StackAddress
from tests.over_http.place import Place
from tests.over_http.work import (
    END_SECONDS,
    ONCE_EACH,
    events_to_the_end,
    some_have_ended,
    starts,
    submit_long,
    submit_tracing,
    succeeds,
)
from tests.waiting import until

pytestmark = pytest.mark.anyio
JOBS_ON_EACH = 6
UNITS = 20
# Beside the lease: for a machine that has other things to do too.
GRACE_SECONDS = 20.0


@pytest.fixture
async def second(address: StackAddress, containers: RunningContainers) -> AsyncIterator[ExecutorClient]:
    """A client of another executor, which is there as long as the test."""
    await containers.call("up", "--detach", "--no-deps", "executor-2")
    try:
        async with ExecutorClient(containers.second_executor_url, address.key) as executor:
            await until(executor.ready, "the second executor is ready", seconds=READY_SECONDS)
            yield executor
    finally:
        await containers.call("rm", "--stop", "--force", "executor-2")


async def test_jobs_submitted_to_either_run_once(
    address: StackAddress, second: ExecutorClient, all_places: list[Place]
) -> None:
    async with address.executor() as first:
        jobs = await asyncio.gather(
            *(
                submit_tracing(executor, place, units=UNITS, seconds=0.05)
                for place in all_places
                for executor in (first, second) * (JOBS_ON_EACH // 2)
            )
        )
        for job in jobs:
            await succeeds(second, job)
            assert await events_to_the_end(first, job.id) == await events_to_the_end(second, job.id)
            assert await starts(first, job.id) == dict.fromkeys(range(UNITS), 1)


@pytest.mark.parametrize("victim", ["executor", "executor-2"])
async def test_the_other_executor_goes_on_with_the_work_of_a_dead_one_when_its_lease_is_over(
    address: StackAddress,
    containers: RunningContainers,
    second: ExecutorClient,
    cluster_places: list[Place],
    victim: str,
) -> None:
    async with address.executor() as first:
        survivor, dead = (second, first) if victim == "executor" else (first, second)
        jobs = [await submit_long(dead, place) for place in cluster_places]
        await asyncio.gather(*(some_have_ended(survivor, job.id) for job in jobs))
        await containers.call("kill", "-s", "SIGKILL", victim)
        began = time.monotonic()
        seen = [(await survivor.job(job.id)).counts.succeeded for job in jobs]

        async def all_go_on() -> bool:
            now = [(await survivor.job(job.id)).counts.succeeded for job in jobs]
            return all(after > before for before, after in zip(seen, now, strict=True))

        try:
            await until(all_go_on, "the other executor takes the jobs over", seconds=END_SECONDS)
            assert time.monotonic() - began < containers.lease_seconds + GRACE_SECONDS
            for job in jobs:
                await succeeds(survivor, job)
                assert await starts(survivor, job.id) == ONCE_EACH
        finally:
            await containers.call("start", victim)
    await address.ready()
