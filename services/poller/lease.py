"""One poller per resource: a lease in Redis. It spares double effort; two pollers at once would do no harm."""

import asyncio
import time
from contextlib import suppress

from shared.service.bus import Bus
from shared.service.waiting import set_within
from stoker.errors import Unavailable


class ResourceLease:
    """The right to work on one resource. `detail` says in words why this poller does not have it."""

    def __init__(self, bus: Bus, *, resource_id: str, holder: str, seconds: float) -> None:
        self.detail = "not asked for yet"
        self._bus = bus
        self._name = f"poller:{resource_id}"
        self._holder = holder
        self._seconds = seconds
        self._valid_until = float("-inf")
        self._look = asyncio.Event()

    @property
    def valid(self) -> bool:
        """Whether nobody else can have it at this moment, by our own clock."""
        return time.monotonic() < self._valid_until

    def look_now(self) -> None:
        """Ask Redis now: it has been away and may have forgotten everything."""
        self._look.set()

    async def acquire(self) -> None:
        """Wait until it is ours, through any outage of Redis."""
        while not await self._ask():
            await set_within(self._look, self._seconds / 3)

    async def keep(self) -> None:
        """Renew it; return when somebody else has it, or when it ran out because Redis did not answer."""
        while True:
            await set_within(self._look, self._seconds / 3)
            while not await self._ask():
                if not self.valid:
                    return
                await asyncio.sleep(self._seconds / 12)

    async def release(self) -> None:
        """Give it up, so that another poller need not wait for its end."""
        self._valid_until = float("-inf")
        self.detail = "given up"
        with suppress(Unavailable):
            await self._bus.release_lease(self._name, self._holder)

    async def _ask(self) -> bool:
        asked_at = time.monotonic()
        left = self._valid_until - asked_at
        try:
            # A late answer is of no use when the lease has run out meanwhile.
            async with asyncio.timeout(left if left > 0 else None):
                taken = await self._bus.acquire_lease(self._name, self._holder, self._seconds)
        except (Unavailable, TimeoutError) as error:
            self.detail = str(error) or "Redis does not answer"
            return False
        self._valid_until = asked_at + self._seconds if taken else float("-inf")
        self.detail = "" if taken else "another poller works on this resource"
        return taken
