"""Containers are killed, restarted and paused while jobs run: no unit runs twice, and none is given up for it."""

import asyncio

import pytest

from shared.contracts.needs import Retries
from tests.compose.place import Place
from tests.compose.stack import RunningContainers, StackAddress
from tests.compose.work import END_SECONDS, events_to_the_end, some_have_ended, starts, submit_tracing
from tests.waiting import until

pytestmark = pytest.mark.anyio
UNITS = 200
UNIT_SECONDS = 0.2
ONCE_EACH = dict.fromkeys(range(UNITS), 1)


@pytest.mark.parametrize("service", ["registry", "poller", "postgres", "redis"])
async def test_a_killed_container_costs_no_unit(
    address: StackAddress, containers: RunningContainers, place: Place, service: str
) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, place, units=UNITS, seconds=UNIT_SECONDS)
        await some_have_ended(executor, job.id)
        await containers.kill_and_start(service)
        events = await events_to_the_end(executor, job.id)
        assert events[-1].state == "succeeded", events[-1]
        assert await starts(executor, job.id) == ONCE_EACH
    await address.ready()


# In a container the executor is the machine of the local resource: what it runs there dies with it.
async def test_a_killed_executor_costs_a_cluster_no_unit(
    address: StackAddress, containers: RunningContainers, cluster_place: Place
) -> None:
    await test_a_killed_container_costs_no_unit(address, containers, cluster_place, "executor")


async def test_what_died_with_the_executors_container_is_lost_and_nothing_runs_twice(
    address: StackAddress, containers: RunningContainers, local_place: Place
) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, local_place, units=UNITS, seconds=UNIT_SECONDS)
        await some_have_ended(executor, job.id)
        await containers.kill_and_start("executor")
        events = await events_to_the_end(executor, job.id)
        assert events[-1].state == "failed"
        counts = events[-1].counts
        assert counts.succeeded > 0
        assert counts.lost == UNITS - counts.succeeded
        lost = [unit async for unit in executor.units(job.id, state="lost")]
        assert {unit.reason.code for unit in lost if unit.reason} == {"runner_died"}
        assert set((await starts(executor, job.id)).values()) == {1}
        assert await _still_works(address, local_place)
    await address.ready()


async def test_what_died_with_the_executors_container_is_tried_again_where_that_was_asked_for(
    address: StackAddress, containers: RunningContainers, local_place: Place
) -> None:
    again = Retries(count=1, on=frozenset({"runner_died"}))
    async with address.executor() as executor:
        job = await submit_tracing(executor, local_place, units=UNITS, seconds=UNIT_SECONDS, retries=again)
        await some_have_ended(executor, job.id)
        await containers.kill_and_start("executor")
        events = await events_to_the_end(executor, job.id)
        assert events[-1].state == "succeeded", events[-1]
        attempts = {unit.index: unit.attempt async for unit in executor.units(job.id)}
        started = await starts(executor, job.id)
    assert set(started) == set(range(UNITS))
    assert all(1 <= started[unit] <= attempts[unit] for unit in started)
    # What had ended before was not done anew.
    assert min(attempts.values()) < max(attempts.values())


@pytest.mark.parametrize("service", ["postgres", "redis"])
async def test_a_restarted_server_costs_no_unit_and_no_event(
    address: StackAddress, containers: RunningContainers, place: Place, service: str
) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, place, units=UNITS, seconds=UNIT_SECONDS)
        listening = asyncio.create_task(events_to_the_end(executor, job.id))
        await some_have_ended(executor, job.id)
        await containers.call("restart", service)
        events = await listening
        assert events[-1].state == "succeeded", events[-1]
        assert events[-1].counts.succeeded == UNITS
        assert await starts(executor, job.id) == ONCE_EACH
    await address.ready()


async def test_a_cluster_that_stands_still_is_waited_for(
    address: StackAddress, containers: RunningContainers, cluster_place: Place
) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, cluster_place, units=UNITS, seconds=UNIT_SECONDS)
        await some_have_ended(executor, job.id)
        await containers.call("pause", "cluster")
        try:
            other = await submit_tracing(executor, cluster_place, units=4, seconds=0)

            async def waits() -> bool:
                return (await executor.job(other.id)).waiting_for is not None

            await until(waits, "the job says what it waits for", seconds=END_SECONDS)
            assert (await executor.job(job.id)).ended_at is None
        finally:
            await containers.call("unpause", "cluster")
        for job_id, units in ((job.id, UNITS), (other.id, 4)):
            events = await events_to_the_end(executor, job_id)
            assert events[-1].state == "succeeded", events[-1]
            assert await starts(executor, job_id) == dict.fromkeys(range(units), 1)


async def test_a_stack_that_was_killed_as_a_whole_knows_what_it_knew(
    address: StackAddress, containers: RunningContainers, place: Place
) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, place, units=4, seconds=0)
        before = await events_to_the_end(executor, job.id)
        await containers.kill_and_start("postgres", "redis", "registry", "executor", "poller")
        await address.ready()
        assert await events_to_the_end(executor, job.id) == before
        assert [result.state async for result in executor.results(job.id)] == ["succeeded"] * 4
        assert await _still_works(address, place)


async def test_work_on_a_cluster_outlives_the_whole_stack(
    address: StackAddress, containers: RunningContainers, cluster_place: Place
) -> None:
    async with address.executor() as executor:
        job = await submit_tracing(executor, cluster_place, units=UNITS, seconds=UNIT_SECONDS)
        await some_have_ended(executor, job.id)
        await containers.kill_and_start("postgres", "redis", "registry", "executor", "poller")
        await address.ready()
        events = await events_to_the_end(executor, job.id)
        assert events[-1].state == "succeeded", events[-1]
        assert await starts(executor, job.id) == ONCE_EACH


async def _still_works(address: StackAddress, place: Place) -> bool:
    async with address.executor() as executor:
        job = await submit_tracing(executor, place, units=4, seconds=0)
        return (await events_to_the_end(executor, job.id))[-1].state == "succeeded"
