"""How to reach a profile's resource: the registry's word, remembered for a while, and longer when it is away."""

import time
from typing import Protocol

import msgspec

from stoker.contracts.holds import Connection
from stoker.errors import Unavailable


class KnowsConnections(Protocol):
    """As much of the registry's client as is needed here."""

    async def connection(self, profile_id: str) -> Connection:
        """Return how to reach this profile's resource. Raises NotFound, Unavailable."""


class Connections:
    """Connections by profile. A change in the registry is seen within `fresh_seconds`."""

    def __init__(self, registry: KnowsConnections, *, fresh_seconds: float = 5.0) -> None:
        self.fresh_seconds = fresh_seconds
        self._registry = registry
        self._known: dict[str, tuple[float, Connection]] = {}

    async def latest(self, profile_id: str) -> Connection:
        """The registry's word of this moment: what something new is accepted by. Raises NotFound, Unavailable."""
        connection = await self._registry.connection(profile_id)
        self._known[profile_id] = (time.monotonic(), connection)
        return connection

    async def current(self, profile_id: str) -> Connection:
        """The connection, the last known one while the registry is away. Raises NotFound, Unavailable."""
        known = self._known.get(profile_id)
        if known is not None and time.monotonic() - known[0] < self.fresh_seconds:
            return known[1]
        try:
            return await self.latest(profile_id)
        except Unavailable:
            if known is None:
                raise
            # A registry that is away is asked once per `fresh_seconds`, not by every look.
            self._known[profile_id] = (time.monotonic(), known[1])
            return known[1]

    async def for_work(self, profile_id: str, snapshot: str) -> Connection:
        """The same for a job in work, which goes on by what it was accepted with where nothing else is known."""
        try:
            return await self.current(profile_id)
        except Unavailable:
            return msgspec.json.decode(snapshot, type=Connection)

    def doubt(self, profile_id: str) -> None:
        """Ask the registry the next time: with this connection nothing was reached."""
        known = self._known.get(profile_id)
        if known is not None:
            self._known[profile_id] = (float("-inf"), known[1])
