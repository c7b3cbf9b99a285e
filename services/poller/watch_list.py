"""The executor's watch list: asked for at the start, on a hint, every few seconds, and when a fresh one is needed."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from services.poller.metrics import PollerMetrics
from shared.service.logs import get_logger
from shared.service.waiting import set_within
from stoker.backoff import Pauses
from stoker.contracts.watches import WatchList
from stoker.errors import StokerError

# Hints come in bursts (a job of many batches): the list is asked for at most this often because of them.
HINT_SPACING_SECONDS = 0.1
log = get_logger()


class GivesWatchList(Protocol):
    """As much of the executor's client as is needed here."""

    async def watch_list(self) -> WatchList:
        """Return what to watch. Raises StokerError."""


class WatchListSource:
    """Keeps the latest list; while the executor is away the last one stays in force.

    `on_list` is called with every list that arrives.
    """

    def __init__(
        self,
        executor: GivesWatchList,
        *,
        metrics: PollerMetrics,
        every_seconds: float,
        on_list: Callable[[WatchList], None],
    ) -> None:
        self.received_at: float | None = None
        """Epoch seconds of the last list."""
        self.error: str | None = None
        self._executor = executor
        self._metrics = metrics
        self._every_seconds = every_seconds
        self._on_list = on_list
        self._asked_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        self._hinted = asyncio.Event()

    def hint(self) -> None:
        """Ask soon: something changed."""
        self._hinted.set()

    async def run(self) -> None:
        """Keep the list current, for ever."""
        pauses = Pauses()
        while True:
            if await self.fresh(max_age_seconds=0):
                pauses.reset()
                seconds = self._every_seconds
            else:
                seconds = pauses.next()
            await asyncio.sleep(HINT_SPACING_SECONDS)
            await set_within(self._hinted, seconds)

    async def fresh(self, *, max_age_seconds: float) -> bool:
        """Have a list that was asked for at most so long ago; False when the executor does not give one."""
        wanted_since = time.monotonic() - max_age_seconds
        async with self._one_at_a_time:
            if self._asked_at > wanted_since:
                return self.error is None
            self._asked_at = time.monotonic()
            return await self._ask()

    async def _ask(self) -> bool:
        try:
            found = await self._executor.watch_list()
        except StokerError as error:
            self._metrics.watch_list_requests.labels("failed").inc()
            if self.error is None:
                log.warning("the executor gives no watch list", error=error.message)
            self.error = error.message
            return False
        self._metrics.watch_list_requests.labels("answered").inc()
        if self.error is not None:
            log.info("the executor gives its watch list again")
        self.error = None
        self.received_at = time.time()
        self._metrics.watched_batches.set(sum(len(profile.batches) for profile in found.profiles))
        self._on_list(found)
        return True
