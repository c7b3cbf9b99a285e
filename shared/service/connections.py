"""How to reach a profile's resource: the registry's word, remembered for a while, and longer when it is away."""

import asyncio
import time
from functools import partial
from typing import Protocol

import msgspec

from stoker.contracts.holds import Connection
from stoker.errors import NotFound, Unavailable

_MANY = 1000
_FORGOTTEN_AFTER_SECONDS = 86_400.0


class KnowsConnections(Protocol):
    """As much of the registry's client as is needed here."""

    async def connection(self, profile_id: str) -> Connection:
        """Return how to reach this profile's resource. Raises NotFound, Unavailable."""


class Connections:
    """Connections by profile. A change in the registry is seen within `fresh_seconds`.

    A registry that is slow or away holds nobody up: it is waited for at most `patience_seconds` where something is
    known without it, by one request for all who ask, and not asked again for `fresh_seconds` after it failed.
    """

    def __init__(
        self, registry: KnowsConnections, *, fresh_seconds: float = 5.0, patience_seconds: float = 1.0
    ) -> None:
        self.fresh_seconds = fresh_seconds
        self._registry = registry
        self._patience_seconds = patience_seconds
        self._known: dict[str, tuple[float, Connection]] = {}
        self._failed: dict[str, tuple[float, Unavailable]] = {}
        self._asking: dict[str, asyncio.Task[Connection]] = {}

    async def latest(self, profile_id: str) -> Connection:
        """The registry's word of this moment: what something new is accepted by. Raises NotFound, Unavailable."""
        try:
            connection = await self._registry.connection(profile_id)
        except NotFound:
            self._known.pop(profile_id, None)
            raise
        self._forget_old()
        self._failed.pop(profile_id, None)
        self._known[profile_id] = (time.monotonic(), connection)
        return connection

    async def current(self, profile_id: str) -> Connection:
        """The connection, the last known one while the registry is away. Raises NotFound, Unavailable."""
        known, failed, now = self._known.get(profile_id), self._failed.get(profile_id), time.monotonic()
        if known is not None and now - known[0] < self.fresh_seconds:
            return known[1]
        if failed is not None and now - failed[0] < self.fresh_seconds:
            if known is None:
                raise failed[1]
            return known[1]
        try:
            return await self._asked(profile_id)
        except Unavailable as error:
            self._failed[profile_id] = (time.monotonic(), error)
            if known is None:
                raise
            return known[1]

    async def for_work(self, profile_id: str, snapshot: str) -> Connection:
        """The same for a job in work, which goes on by what it was accepted with where nothing else is known."""
        try:
            return await self.current(profile_id)
        except Unavailable:
            return msgspec.json.decode(snapshot, type=Connection)

    def doubt(self, profile_id: str) -> None:
        """Ask the registry the next time: with this connection nothing was reached."""
        self._failed.pop(profile_id, None)
        known = self._known.get(profile_id)
        if known is not None:
            self._known[profile_id] = (float("-inf"), known[1])

    async def _asked(self, profile_id: str) -> Connection:
        asking = self._asking.get(profile_id)
        if asking is None:
            asking = self._asking[profile_id] = asyncio.create_task(self.latest(profile_id))
            asking.add_done_callback(partial(self._answered, profile_id))
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await asyncio.shield(asking)
        except TimeoutError:
            raise Unavailable(f"the registry has not answered within {self._patience_seconds:g} s") from None

    def _answered(self, profile_id: str, asked: asyncio.Task[Connection]) -> None:
        del self._asking[profile_id]
        if not asked.cancelled():
            asked.exception()  # whoever still waits for it hears it

    def _forget_old(self) -> None:
        if len(self._known) > _MANY:
            oldest = time.monotonic() - _FORGOTTEN_AFTER_SECONDS
            self._known = {one: known for one, known in self._known.items() if known[0] > oldest}
