"""The bus on both kinds of server: hints, reconnection, leases, and a server that is killed or stalls."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from shared.service.bus import RECONNECTED, Bus
from stoker.errors import Unavailable
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.anyio
WAIT_SECONDS = 20


@pytest.fixture
async def bus(redis_url: str) -> AsyncGenerator[Bus]:
    bus = Bus(redis_url)
    yield bus
    await bus.close()


async def next_message(messages: AsyncIterator[tuple[str, bytes]]) -> tuple[str, bytes]:
    async with asyncio.timeout(WAIT_SECONDS):
        return await anext(messages)


async def lease_is_free(bus: Bus, name: str, holder: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not await bus.acquire_lease(name, holder, 30):
            await asyncio.sleep(0.02)


async def test_a_message_reaches_the_subscribers_of_its_channel(bus: Bus) -> None:
    async with bus.subscribe("one", "two") as messages, bus.subscribe("three") as others:
        assert await next_message(messages) == (RECONNECTED, b"")
        assert await next_message(others) == (RECONNECTED, b"")
        await bus.publish("one", b"\x00\xff")
        await bus.publish("two", b"second")
        await bus.publish("three", b"third")
        assert await next_message(messages) == ("one", b"\x00\xff")
        assert await next_message(messages) == ("two", b"second")
        assert await next_message(others) == ("three", b"third")


async def test_giving_up_waiting_loses_no_message(bus: Bus) -> None:
    async with bus.subscribe("one") as messages:
        await next_message(messages)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(messages)
        await bus.publish("one", b"later")
        assert await next_message(messages) == ("one", b"later")


async def test_a_subscription_survives_kills_of_the_server_and_says_so(bus: Bus, redis_server: RedisServer) -> None:
    async with bus.subscribe("one") as messages:
        for payload in (b"first", b"second", b"third"):
            assert await next_message(messages) == (RECONNECTED, b"")
            await bus.publish("one", payload)
            assert await next_message(messages) == ("one", payload)
            redis_server.process.kill()
            with pytest.raises(Unavailable):
                await bus.publish("one", b"into nothing")
            redis_server.process.start()


async def test_a_subscription_may_begin_while_the_server_is_away(redis_server: RedisServer) -> None:
    redis_server.process.kill()
    bus = Bus(redis_server.url)
    async with bus.subscribe("one") as messages:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(messages)
        redis_server.process.start()
        assert await next_message(messages) == (RECONNECTED, b"")
    await bus.close()


async def test_a_server_that_stalls_is_unavailable_and_not_waited_for(bus: Bus, redis_server: RedisServer) -> None:
    await bus.ping()
    redis_server.process.stall()
    try:
        for call in (bus.ping(), bus.publish("one", b"")):
            with pytest.raises(Unavailable):
                async with asyncio.timeout(WAIT_SECONDS):
                    await call
    finally:
        redis_server.process.wake()
    await bus.ping()


async def test_an_interrupted_call_leaves_no_answer_for_the_next_one(bus: Bus, redis_server: RedisServer) -> None:
    redis_server.process.stall()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await bus.acquire_lease("a", "me", 30)
    redis_server.process.wake()
    await bus.ping()
    assert not await bus.release_lease("unknown", "me")
    assert await bus.acquire_lease("b", "me", 30)


async def test_a_task_that_is_cancelled_ends_whatever_moment_of_a_call_it_is_in(bus: Bus) -> None:
    async def publishes_for_ever() -> None:
        while True:
            await bus.publish("hints", b"hello")

    await bus.ping()
    for steps in range(150):
        task = asyncio.create_task(publishes_for_ever())
        for _ in range(steps % 50):
            await asyncio.sleep(0)
        task.cancel()
        _, going_on = await asyncio.wait([task], timeout=WAIT_SECONDS)
        while not task.done():  # so that a failure is a failure, and nothing that hangs
            task.cancel()
            await asyncio.sleep(0)
        assert not going_on, f"it went on after {steps % 50} steps"


async def test_a_lease_has_one_holder(bus: Bus) -> None:
    assert await bus.acquire_lease("cluster", "first", 30)
    assert not await bus.acquire_lease("cluster", "second", 30)
    assert await bus.acquire_lease("cluster", "first", 30)  # repeating is safe
    assert await bus.acquire_lease("another", "second", 30)
    assert not await bus.release_lease("cluster", "second")
    assert await bus.release_lease("cluster", "first")
    assert not await bus.release_lease("cluster", "first")
    assert await bus.acquire_lease("cluster", "second", 30)


async def test_of_many_that_want_a_lease_at_once_one_gets_it(bus: Bus) -> None:
    taken = await asyncio.gather(*(bus.acquire_lease("cluster", f"holder {n}", 30) for n in range(50)))
    assert sum(taken) == 1


async def test_a_lease_ends_when_it_is_not_renewed(bus: Bus) -> None:
    assert await bus.acquire_lease("cluster", "first", 0.05)
    await lease_is_free(bus, "cluster", "second")
    assert not await bus.release_lease("cluster", "first")


async def test_a_lease_is_gone_with_its_server(bus: Bus, redis_server: RedisServer) -> None:
    assert await bus.acquire_lease("cluster", "first", 30)
    redis_server.process.kill()
    redis_server.process.start()
    assert not await bus.release_lease("cluster", "first")
    assert await bus.acquire_lease("cluster", "second", 30)
