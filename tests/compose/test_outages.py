"""Containers are killed, restarted and paused while jobs run: no unit runs twice, and none is given up for it."""

import asyncio
from collections.abc import Iterable

import pytest

from stoker.contracts.jobs import Job
from stoker.contracts.needs import Retries
from tests.compose.containers import RunningContainers
from tests.over_http.address import StackAddress
from tests.over_http.place import Place
from tests.over_http.work import (
    END_SECONDS,
    UNITS,
    events_to_the_end,
    some_have_ended,
    starts,
    submit_long,
    submit_tracing,
    succeeds,
)
from tests.waiting import until

pytestmark = pytest.mark.anyio
SERVICES = ("registry", "executor", "poller")
AGAIN_WHEN_THE_MACHINE_DIED = Retries(count=1, on=frozenset({"runner_died", "node_failure", "vanished"}))


async def underway(
    address: StackAddress, places: Iterable[Place], *more: tuple[Iterable[Place], Retries]
) -> list[list[Job]]:
    """Jobs on these places, all of them in the middle of their work; `more` are those with retries."""
    async with address.executor() as executor:
        jobs = [
            [await submit_long(executor, place, retries=retries) for place in chosen]
            for chosen, retries in ((places, Retries()), *more)
        ]
        await asyncio.gather(*(some_have_ended(executor, job.id) for group in jobs for job in group))
    return jobs


async def all_succeed_each_unit_once(address: StackAddress, jobs: Iterable[Job]) -> None:
    async with address.executor() as executor:
        for job in jobs:
            await succeeds(executor, job)
            assert await starts(executor, job.id) == dict.fromkeys(range(job.unit_count), 1)


async def all_succeed_and_what_had_ended_is_not_done_again(address: StackAddress, jobs: Iterable[Job]) -> None:
    """Units that died are started once more, and no other."""
    async with address.executor() as executor:
        for job in jobs:
            await succeeds(executor, job)
            attempts = {unit.index: unit.attempt async for unit in executor.units(job.id)}
            started = await starts(executor, job.id)
            assert set(started) == set(range(UNITS))
            assert all(1 <= started[unit] <= attempts[unit] for unit in started)
            assert set(attempts.values()) == {1, 2}


async def everything_works(address: StackAddress, places: Iterable[Place]) -> None:
    await address.ready()
    async with address.executor() as executor:
        for job in [await submit_tracing(executor, place, units=4, seconds=0) for place in places]:
            await succeeds(executor, job)


@pytest.mark.parametrize("service", ["registry", "poller", "postgres", "redis"])
async def test_a_killed_container_costs_no_unit(
    address: StackAddress, containers: RunningContainers, all_places: list[Place], service: str
) -> None:
    (jobs,) = await underway(address, all_places)
    await containers.kill_and_start(service)
    await all_succeed_each_unit_once(address, jobs)
    await address.ready()


async def test_a_killed_executor_costs_clusters_no_unit_and_the_local_resource_what_ran_in_its_container(
    address: StackAddress, containers: RunningContainers, all_places: list[Place]
) -> None:
    # In a container the executor is the machine of the local resource: what it runs there dies with it.
    here = [place for place in all_places if not place.on_cluster]
    jobs, again = await underway(address, all_places, (here, AGAIN_WHEN_THE_MACHINE_DIED))
    (once,) = (job for job in jobs if job.resource_id == here[0].resource_id)
    await containers.kill_and_start("executor")
    await all_succeed_each_unit_once(address, [job for job in jobs if job is not once])
    await all_succeed_and_what_had_ended_is_not_done_again(address, again)
    async with address.executor() as executor:
        end = (await events_to_the_end(executor, once.id))[-1]
        assert end.state == "failed"
        assert end.counts.succeeded > 0
        assert end.counts.lost == UNITS - end.counts.succeeded
        lost = [unit async for unit in executor.units(once.id, state="lost")]
        assert {unit.reason.code for unit in lost if unit.reason} == {"runner_died"}
        assert set((await starts(executor, once.id)).values()) == {1}
    await everything_works(address, all_places)


async def test_a_killed_cluster_is_a_node_that_failed_and_its_units_are_tried_again_where_that_was_asked_for(
    address: StackAddress, containers: RunningContainers, cluster_places: list[Place]
) -> None:
    once, again = await underway(address, cluster_places, (cluster_places, AGAIN_WHEN_THE_MACHINE_DIED))
    await containers.queue_is_written_down()
    await containers.kill_and_start("cluster")
    await containers.let_requeued_jobs_start()
    await everything_works(address, cluster_places)
    await all_succeed_and_what_had_ended_is_not_done_again(address, again)
    async with address.executor() as executor:
        for job in once:
            end = (await events_to_the_end(executor, job.id))[-1]
            assert end.state == "failed"
            failed = [unit async for unit in executor.units(job.id) if unit.state != "succeeded"]
            assert {unit.reason.code for unit in failed if unit.reason} == {"node_failure"}
            assert set((await starts(executor, job.id)).values()) == {1}


@pytest.mark.parametrize("service", ["postgres", "redis"])
async def test_a_restarted_server_costs_no_unit_and_no_event(
    address: StackAddress, containers: RunningContainers, all_places: list[Place], service: str
) -> None:
    (jobs,) = await underway(address, all_places)
    async with address.executor() as executor:
        listening = [asyncio.create_task(events_to_the_end(executor, job.id)) for job in jobs]
        await containers.call("restart", service)
        for events in await asyncio.gather(*listening):
            assert events[-1].state == "succeeded", events[-1]
            assert events[-1].counts.succeeded == UNITS
    await all_succeed_each_unit_once(address, jobs)
    await address.ready()


async def test_a_cluster_that_stands_still_is_waited_for(
    address: StackAddress, containers: RunningContainers, cluster_places: list[Place]
) -> None:
    (jobs,) = await underway(address, cluster_places)
    async with address.executor() as executor:
        await containers.call("pause", "cluster")
        try:
            later = [await submit_tracing(executor, place, units=4, seconds=0) for place in cluster_places]

            async def all_wait() -> bool:
                return all([(await executor.job(job.id)).waiting_for is not None for job in later])

            await until(all_wait, "the jobs say what they wait for", seconds=END_SECONDS)
            assert {(await executor.job(job.id)).ended_at for job in jobs} == {None}
        finally:
            await containers.call("unpause", "cluster")
    await all_succeed_each_unit_once(address, jobs + later)


async def test_services_that_are_killed_all_at_once_know_what_they_knew_and_clusters_go_on(
    address: StackAddress, containers: RunningContainers, all_places: list[Place], cluster_places: list[Place]
) -> None:
    async with address.executor() as executor:
        ended = [await submit_tracing(executor, place, units=4, seconds=0) for place in all_places]
        before = [await events_to_the_end(executor, job.id) for job in ended]
        (running,) = await underway(address, cluster_places)
        await containers.kill_and_start("postgres", "redis", *SERVICES)
        await address.ready()
        assert [await events_to_the_end(executor, job.id) for job in ended] == before
        for job in ended:
            assert [result.state async for result in executor.results(job.id)] == ["succeeded"] * 4
    await all_succeed_each_unit_once(address, running)


async def test_a_stack_that_is_taken_down_and_started_again_keeps_resources_keys_jobs_and_work(
    address: StackAddress, containers: RunningContainers, all_places: list[Place]
) -> None:
    async with address.registry() as registry, address.executor() as executor:
        resources = [resource async for resource in registry.resources()]
        ended = [await submit_tracing(executor, place, units=4, seconds=0) for place in all_places]
        before = [await events_to_the_end(executor, job.id) for job in ended]
        _, running = await underway(address, (), (all_places, AGAIN_WHEN_THE_MACHINE_DIED))
        await containers.call("down")
        await containers.call("up", "--detach")
        await containers.let_requeued_jobs_start()
        await address.ready()
        assert [resource async for resource in registry.resources()] == resources
        assert [await events_to_the_end(executor, job.id) for job in ended] == before
    await everything_works(address, all_places)
    await all_succeed_and_what_had_ended_is_not_done_again(address, running)
