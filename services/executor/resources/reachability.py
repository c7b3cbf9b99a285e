"""Which profiles' resources cannot be reached at the moment, as pollers say it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from shared.service.bus import RECONNECTED, Bus
from shared.service.logs import get_logger
from stoker.contracts.watches import HEALTH_CHANNEL, ResourceHealth

log = get_logger()

_SAYS_SINCE_WHEN = " is unreachable since "


class Reachability:
    """A hint for people: nothing is decided by it. What is bad is said again every interval, so it need not last."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._unreachable: dict[str, ResourceHealth] = {}

    def trouble(self, profile_id: str) -> str | None:
        """Why nothing is heard of a profile's jobs, and since when; None while all is well."""
        health = self._unreachable.get(profile_id)
        if health is None:
            return None
        error = health.error or "it does not answer"
        if _SAYS_SINCE_WHEN in error:
            return error
        since = datetime.fromtimestamp(health.since, UTC).isoformat(timespec="seconds")
        return f"the resource{_SAYS_SINCE_WHEN}{since}: {error}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen until the context is left."""
        task = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        decoder = msgspec.json.Decoder(ResourceHealth)
        async with self._bus.subscribe(HEALTH_CHANNEL) as messages:
            async for channel, payload in messages:
                if channel == RECONNECTED:
                    # That somebody came back may have been said meanwhile; who did not will be named again.
                    self._unreachable.clear()
                    continue
                try:
                    health = decoder.decode(payload)
                except msgspec.DecodeError:
                    log.warning("message not understood", channel=channel)
                    continue
                if health.reachable:
                    self._unreachable.pop(health.profile_id, None)
                else:
                    self._unreachable[health.profile_id] = health
