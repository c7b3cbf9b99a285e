"""The stream of events: complete, in order, only what belongs to the caller, and it ends when the service does."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from services.executor.repositories.events import append_event
from services.executor.repositories.jobs import counts_of, lock_job
from shared.service.bus import RECONNECTED, Bus
from shared.service.database.transactions import Database
from stoker.clients.executor import ExecutorClient
from stoker.contracts.events import JobEvent
from stoker.contracts.watches import EVENTS_CHANNEL
from tests.workshop.serving import World, ended

pytestmark = pytest.mark.anyio


async def some_of(source: AsyncIterator[JobEvent], count: int) -> list[JobEvent]:
    found = []
    async with asyncio.timeout(120):
        async for event in source:
            found.append(event)
            if len(found) == count:
                break
    return found


async def until_final(source: AsyncIterator[JobEvent]) -> list[JobEvent]:
    found = []
    async with asyncio.timeout(120):
        async for event in source:
            found.append(event)
            if event.state in ("succeeded", "failed", "cancelled"):
                return found
    raise AssertionError("the stream ended")


async def test_a_job_is_followed_from_its_first_event_to_its_last(world: World, working: ExecutorClient) -> None:
    units = [{"code": n % 3} for n in range(30)]
    job = await working.submit(world.submission("sh", "-c", "exit {args.code}", units=units))
    live = asyncio.create_task(until_final(working.events(job.id)))
    over = await ended(working, job.id)
    found = await live
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    assert [event.position for event in found] == sorted({event.position for event in found})
    assert found[0].state == "accepted"
    assert found[-1].state == over.state == "failed"
    assert found[-1].counts == over.counts
    assert sum(len(event.failed_units) + event.failed_units_left_out for event in found) == 20
    # Who comes later, or comes again in the middle, is given the same.
    assert await until_final(working.events(job.id)) == found
    assert await until_final(working.events(job.id, after=found[1].position)) == found[2:]


async def test_last_event_id_goes_before_the_query(world: World, executor: ExecutorClient) -> None:
    first, second = [await executor.submit(world.submission("true")) for _ in range(2)]
    positions = [(await some_of(executor.events(job.id), 1))[0].position for job in (first, second)]
    headers = {"Last-Event-ID": str(min(positions))}
    async with world.raw() as http, http.stream("GET", "/v1/events?after=0", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = await until_event(answer)
    assert f"id: {min(positions) + 1}" in lines


async def until_event(answer: httpx.Response) -> list[str]:
    lines = []
    async with asyncio.timeout(120):
        async for line in answer.aiter_lines():
            lines.append(line)
            if line.startswith("data:"):
                return lines
    raise AssertionError("the stream ended")


async def test_owners_see_their_own_events_only(world: World, executor: ExecutorClient) -> None:
    ann_key = await world.user_key(world.registry_client, "ann")
    bob_key = await world.user_key(world.registry_client, "bob")
    async with world.client(ann_key) as ann, world.client(bob_key) as bob:
        submit = world.submission("true")
        mine, theirs = await ann.submit(submit), await bob.submit(submit)
        last = await ann.submit(submit)
        seen: set[str] = set()
        async with asyncio.timeout(120):
            async for event in ann.events():
                seen.add(event.job_id)
                if event.job_id == last.id:
                    break
        assert seen == {mine.id, last.id}
        everything = {event.job_id for event in await some_of(executor.events(), 3)}
        assert everything <= {mine.id, theirs.id, last.id}


async def test_nothing_is_missed_while_the_service_restarts(world: World) -> None:
    async with world.executor() as client:
        before = await client.submit(world.submission("true"))
    # Committed by a process that died before it gave the event its place.
    database = Database(world.executor_database_url)
    async with database.write() as connection:
        job = await lock_job(connection, before.id)
        await append_event(
            connection, job, type_="job_progress", state=job.state, counts=counts_of(job), at=time.time()
        )
    await database.close()
    async with world.executor() as client:
        found: list[JobEvent] = []
        async with asyncio.timeout(120):
            async for event in client.events(before.id):
                found.append(event)
                if any(item.type == "job_progress" for item in found):
                    break
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))


@pytest.mark.both_databases
async def test_two_executors_on_one_database_give_one_order(world: World, executor: ExecutorClient) -> None:
    heard = asyncio.create_task(some_of(executor.events(), 6))
    first_url = world.executor_url
    async with world.executor() as other:
        assert world.executor_url != first_url
        for client in (executor, other, other, executor, other, other):
            await client.submit(world.submission("true"))
        found = await heard
    assert [event.position for event in found] == sorted({event.position for event in found})


async def test_open_streams_end_when_the_service_stops(world: World) -> None:
    serving = world.executor()
    client = await serving.__aenter__()
    await client.submit(world.submission("true"))
    async with world.raw() as http, http.stream("GET", "/v1/events?after=0") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == ": connected"
        stopped = asyncio.create_task(serving.__aexit__(None, None, None))
        async with asyncio.timeout(120):
            async for _ in lines:
                pass
        await stopped


async def test_events_are_told_on_the_bus_too(world: World, executor: ExecutorClient) -> None:
    bus = Bus(world.redis_url)
    try:
        async with bus.subscribe(EVENTS_CHANNEL) as messages:
            assert (await anext(messages))[0] == RECONNECTED
            job = await executor.submit(world.submission("true"))
            async with asyncio.timeout(120):
                _, payload = await anext(messages)
    finally:
        await bus.close()
    event = msgspec.json.decode(payload, type=JobEvent)
    assert (event.job_id, event.sequence) == (job.id, 1)
    assert event.position > 0


async def test_events_flow_without_the_bus(world: World) -> None:
    async with world.executor(STOKER_REDIS_URL=f"unix://{world.folder}/nothing.sock") as client:
        job = await client.submit(world.submission("true"))
        assert (await some_of(client.events(job.id), 1))[0].sequence == 1


# It waits for the first comment, once.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_quiet_streams_say_that_they_are_there(world: World, executor: ExecutorClient) -> None:
    job = await executor.submit(world.submission("true"))
    async with world.raw() as http, http.stream("GET", f"/v1/events?job_id={job.id}&after={2**40}") as answer:
        async with asyncio.timeout(120):
            async for line in answer.aiter_lines():
                if line == ": still here":
                    return
    raise AssertionError("no comment came")
