"""When keys were last used: gathered in memory, written once in a while, never per request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from services.registry.stores.access_keys import AccessKeyStore
from shared.service.logs import get_logger
from stoker.contracts.keys import Caller
from stoker.errors import StokerError

log = get_logger()


class KeyUses:
    """Looks keys up and remembers that they were used. A crash forgets at most one interval's uses."""

    def __init__(self, keys: AccessKeyStore, *, interval_seconds: float) -> None:
        self._keys = keys
        self._interval_seconds = interval_seconds
        self._unwritten: dict[str, datetime] = {}

    async def caller(self, sha256: str) -> Caller | None:
        """Return whose key has this SHA-256, or None; it counts as used now."""
        caller = await self._keys.caller(sha256)
        if caller is not None:
            self._unwritten[caller.key_id] = datetime.now(UTC)
        return caller

    async def write(self) -> None:
        """Write what has been gathered; on failure it is kept for the next time."""
        gathered, self._unwritten = self._unwritten, {}
        if not gathered:
            return
        try:
            await self._keys.store_uses(gathered)
        except StokerError as error:
            self._unwritten = gathered | self._unwritten
            log.warning("the last use of keys could not be written", detail=error.message)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write every interval, and at the end."""
        task = asyncio.create_task(self._write_for_ever())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.write()

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.write()
