"""One poller per resource, on both kinds of server: taking a lease, losing it, taking over."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from services.poller.lease import ResourceLease
from shared.service.bus import Bus
from shared.service.waiting import cancelled
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.anyio
WAIT_SECONDS = 20


@pytest.fixture
async def bus(redis_url: str) -> AsyncGenerator[Bus]:
    bus = Bus(redis_url)
    yield bus
    await bus.close()


def lease(bus: Bus, holder: str, seconds: float) -> ResourceLease:
    return ResourceLease(bus, resource_id="cluster", holder=holder, seconds=seconds)


async def test_a_kept_lease_stays_for_longer_than_its_time(bus: Bus) -> None:
    first, second = lease(bus, "first", 0.3), lease(bus, "second", 0.3)
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await second.acquire()
    assert first.valid
    assert not second.valid
    assert second.detail == "another poller works on this resource"
    await cancelled([keeping])


async def test_another_takes_over_when_the_holder_is_gone(bus: Bus) -> None:
    first, second = lease(bus, "first", 0.3), lease(bus, "second", 0.3)
    await first.acquire()  # and never keeps it, as if it had been killed
    async with asyncio.timeout(WAIT_SECONDS):
        await second.acquire()
    assert not first.valid  # by its own clock, before the other could have it


async def test_a_lease_that_is_given_up_is_free_at_once(bus: Bus) -> None:
    first, second = lease(bus, "first", 3600), lease(bus, "second", 1)
    await first.acquire()
    await first.release()
    async with asyncio.timeout(WAIT_SECONDS):
        await second.acquire()


async def test_a_holder_whose_lease_another_has_stops(bus: Bus) -> None:
    first = lease(bus, "first", 3600)
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await bus.release_lease("poller:cluster", "first")
    assert await bus.acquire_lease("poller:cluster", "second", 3600)
    first.look_now()
    async with asyncio.timeout(WAIT_SECONDS):
        await keeping
    assert not first.valid


async def test_a_holder_stops_when_redis_stays_away(bus: Bus, redis_server: RedisServer) -> None:
    first = lease(bus, "first", 0.5)
    await first.acquire()
    redis_server.process.kill()
    async with asyncio.timeout(WAIT_SECONDS):
        await first.keep()
    assert not first.valid
    assert "Redis" in first.detail
    redis_server.process.start()
    async with asyncio.timeout(WAIT_SECONDS):
        await first.acquire()


async def test_a_holder_keeps_its_lease_over_a_short_outage_in_which_redis_forgets_it(
    bus: Bus, redis_server: RedisServer
) -> None:
    first = lease(bus, "first", 3600)
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    redis_server.process.kill()
    redis_server.process.start()
    first.look_now()
    async with asyncio.timeout(WAIT_SECONDS):
        while not await bus.release_lease("poller:cluster", "first"):
            await asyncio.sleep(0.02)
    assert not keeping.done()
    await cancelled([keeping])
