"""What the executor knows of resources that are away: what pollers say, and nothing that may be out of date."""

import time

import msgspec
import pytest

from services.executor.resources.reachability import Reachability
from shared.service.bus import Bus
from stoker.contracts.watches import HEALTH_CHANNEL, ResourceHealth
from stoker.errors import Unavailable
from tests.servers.redis import RedisServer
from tests.waiting import until

pytestmark = pytest.mark.anyio


def health(*, reachable: bool, error: str | None = None, profile_id: str = "p") -> bytes:
    said = ResourceHealth(profile_id=profile_id, resource_id="r", reachable=reachable, since=time.time(), error=error)
    return msgspec.json.encode(said)


async def test_trouble_is_told_until_it_is_over_or_may_be(embedded_redis_server: RedisServer) -> None:
    bus = Bus(embedded_redis_server.url)
    reachability = Reachability(bus)

    async def publish(payload: bytes) -> None:
        try:
            await bus.publish(HEALTH_CHANNEL, payload)
        except Unavailable:
            return  # said again by the next look

    async def says(payload: bytes, words: str) -> bool:
        await publish(payload)
        return words in (reachability.trouble("p") or "")

    async with reachability.running():
        assert reachability.trouble("p") is None
        away = health(reachable=False, error="the pipe was closed")
        await until(lambda: says(away, "the resource is unreachable since 20"), "it is away")
        assert (reachability.trouble("p") or "").endswith(": the pipe was closed")
        dated = health(reachable=False, error="cluster is unreachable since 2026-01-01T00:00:00: no route")
        await until(lambda: says(dated, "no route"), "why it is away now")
        assert reachability.trouble("p") == "cluster is unreachable since 2026-01-01T00:00:00: no route"
        assert reachability.trouble("another") is None
        await publish(b"nonsense")
        await publish(health(reachable=True))
        await until(lambda: reachability.trouble("p") is None, "it is back")

        await until(lambda: says(away, "is unreachable"), "it is away again")
        embedded_redis_server.process.kill()
        embedded_redis_server.process.start()
        await until(lambda: reachability.trouble("p") is None, "that it is back may have been missed")
        await until(lambda: says(away, "is unreachable"), "it is named again")
    await bus.close()
