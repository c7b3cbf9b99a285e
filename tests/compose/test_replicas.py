"""Two executors on one database: a job runs once whoever takes it, and the living go on with the work of the dead."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.clients import ExecutorClient
from tests.compose.place import Place
from tests.compose.stack import READY_SECONDS, RunningContainers, StackAddress
from tests.compose.work import events_to_the_end, some_have_ended, starts, submit_tracing
from tests.waiting import until

pytestmark = pytest.mark.anyio
JOBS = 10
UNITS = 20


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


async def test_jobs_submitted_to_either_run_once(address: StackAddress, second: ExecutorClient, place: Place) -> None:
    async with address.executor() as first:
        jobs = await asyncio.gather(
            *(
                submit_tracing(executor, place, units=UNITS, seconds=0.05)
                for executor in (first, second) * (JOBS // 2)
            )
        )
        for job in jobs:
            events = await events_to_the_end(second, job.id)
            assert events[-1].state == "succeeded", events[-1]
            assert await events_to_the_end(first, job.id) == events
            assert await starts(first, job.id) == dict.fromkeys(range(UNITS), 1)


@pytest.mark.parametrize("victim", ["executor", "executor-2"])
async def test_the_other_executor_goes_on_with_the_work_of_a_dead_one(
    address: StackAddress, containers: RunningContainers, second: ExecutorClient, cluster_place: Place, victim: str
) -> None:
    async with address.executor() as first:
        survivor, dead = (second, first) if victim == "executor" else (first, second)
        jobs = [await submit_tracing(dead, cluster_place, units=100, seconds=0.2) for _ in range(2)]
        await some_have_ended(survivor, jobs[0].id)
        await containers.call("kill", "-s", "SIGKILL", victim)
        try:
            for job in jobs:
                events = await events_to_the_end(survivor, job.id)
                assert events[-1].state == "succeeded", events[-1]
                assert await starts(survivor, job.id) == dict.fromkeys(range(100), 1)
        finally:
            await containers.call("start", victim)
    await address.ready()
