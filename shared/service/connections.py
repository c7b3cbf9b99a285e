"""How to reach a profile's resource: always the current way, or the last known one while the registry is away."""

import time

import msgspec

from stoker.clients.registry import RegistryClient
from stoker.contracts.holds import Connection
from stoker.errors import Unavailable


class Connections:
    """Connections by profile, remembered for a few seconds, and longer while the registry does not answer."""

    def __init__(self, registry: RegistryClient, *, fresh_seconds: float = 5.0) -> None:
        self._registry = registry
        self._fresh_seconds = fresh_seconds
        self._known: dict[str, tuple[float, Connection]] = {}

    async def current(self, profile_id: str) -> Connection:
        """The registry's word, at most a few seconds old. Raises NotFound, Unavailable."""
        known = self._known.get(profile_id)
        if known and time.monotonic() - known[0] < self._fresh_seconds:
            return known[1]
        return await self.latest(profile_id)

    async def latest(self, profile_id: str) -> Connection:
        """The registry's word of this moment: what a new job is accepted by. Raises NotFound, Unavailable."""
        connection = await self._registry.connection(profile_id)
        self._known[profile_id] = (time.monotonic(), connection)
        return connection

    async def for_work(self, profile_id: str, snapshot: str) -> Connection:
        """The same for a job in work, which goes on by what is known of it when the registry is away."""
        try:
            return await self.current(profile_id)
        except Unavailable:
            known = self._known.get(profile_id)
            return known[1] if known else msgspec.json.decode(snapshot, type=Connection)
