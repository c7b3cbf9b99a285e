"""How to reach a profile, with a registry that is slow, away or wrong."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from shared.service.connections import Connections
from stoker.contracts.holds import Connection
from stoker.errors import NotFound, Unavailable
from tests.workshop.watching import local_connection

pytestmark = pytest.mark.anyio


class Registry:
    """Answers what it is told, when it is told."""

    def __init__(self) -> None:
        self.answer: Connection | Exception = known_as(1)
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0

    async def connection(self, profile_id: str) -> Connection:
        del profile_id
        self.asked += 1
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_what_is_known_is_used_while_the_registry_hangs() -> None:
    registry = Registry()
    connections = Connections(registry, fresh_seconds=0.0, patience_seconds=0.01)
    first = await connections.current("p")
    registry.open.clear()
    async with asyncio.timeout(30):
        assert await connections.current("p") == first
        assert await connections.for_work("p", "no JSON at all") == first


async def test_all_who_ask_share_one_request_and_its_failure_is_remembered() -> None:
    registry = Registry()
    registry.open.clear()
    connections = Connections(registry, fresh_seconds=60.0, patience_seconds=0.01)
    for outcome in await asyncio.gather(*(connections.current("p") for _ in range(20)), return_exceptions=True):
        assert isinstance(outcome, Unavailable)
    with pytest.raises(Unavailable):
        await connections.current("p")
    assert registry.asked == 1
    # What nobody waited for is known when it comes after all.
    registry.open.set()
    async with asyncio.timeout(30):
        while (await connections.for_work("p", snapshot_of(9))).resource.version != 1:
            await asyncio.sleep(0)
    assert registry.asked == 1


async def test_a_job_in_work_goes_on_by_what_it_was_accepted_with() -> None:
    registry = Registry()
    registry.answer = Unavailable("away")
    connections = Connections(registry)
    assert (await connections.for_work("p", snapshot_of(9))).resource.version == 9


async def test_a_profile_that_is_gone_is_forgotten() -> None:
    registry = Registry()
    connections = Connections(registry, fresh_seconds=0.0)
    await connections.current("p")
    registry.answer = NotFound("gone")
    with pytest.raises(NotFound):
        await connections.current("p")
    registry.answer = Unavailable("away")
    with pytest.raises(Unavailable):
        await connections.current("p")


async def test_a_doubt_has_the_registry_asked_at_once() -> None:
    registry = Registry()
    connections = Connections(registry, fresh_seconds=60.0)
    await connections.current("p")
    registry.answer = known_as(2)
    assert (await connections.current("p")).resource.version == 1
    connections.doubt("p")
    assert (await connections.current("p")).resource.version == 2


def known_as(version: int) -> Connection:
    return local_connection(Path("/jobs"), version=version)


def snapshot_of(version: int) -> str:
    return msgspec.json.encode(known_as(version)).decode()
