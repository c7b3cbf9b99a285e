"""Housekeeping: measuring ended jobs, removing old ones, releasing profiles that no job names.

One loop, woken by commits at most once a second and otherwise by the moment when the next job is due. What cannot be
done now (its resource is away) is tried again later and holds up nothing else.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.executor.housekeeping.clock import DoubtfulClock
from services.executor.jobs.removal import Removal
from services.executor.repositories import kept_jobs as rows
from services.executor.repositories.rows import JobSource
from services.executor.resources.agents import JobAgents, folder_of
from services.executor.resources.holds import Holds
from shared.service.database.transactions import Database
from shared.service.logs import get_logger
from shared.service.waiting import first_of
from stoker.errors import NotFound, StokerError, Unavailable

log = get_logger()

SECONDS_A_DAY = 86_400.0
_LONGEST_PAUSE_SECONDS = 3600.0
_SHORTEST_PAUSE_SECONDS = 1.0
_AGAIN_SECONDS = 60.0
_LONG_QUIET_SECONDS = 86_400.0
_RECONCILE_SECONDS = 3600.0
_AT_ONCE = 100


class Retention:
    """Keeps what is kept within its time, and no longer. `retention_days` 0: for ever."""

    def __init__(
        self, *, database: Database, agents: JobAgents, removal: Removal, holds: Holds, retention_days: float
    ) -> None:
        self._database = database
        self._agents = agents
        self._removal = removal
        self._holds = holds
        self._retention_seconds = retention_days * SECONDS_A_DAY
        self._clock = DoubtfulClock()
        self._woken = asyncio.Event()
        self._again_at: dict[str, float] = {}
        self._reconcile_at = 0.0

    def wake(self) -> None:
        """Something was committed: a job may have ended, or have been removed."""
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep house until the context is left."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        begun = False
        while True:
            self._woken.clear()
            pause = _AGAIN_SECONDS
            try:
                if not begun:
                    await self._doubt_a_clock_that_is_far_ahead()
                    begun = True
                pause = await self.keep_house()
            except Unavailable as error:
                log.info("housekeeping waits", reason=error.message)
            except Exception:
                log.exception("housekeeping failed")
            await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)
            await first_of(pause, self._woken)

    async def keep_house(self) -> float:
        """Do all that is due; returns after how many seconds there will be more. Raises Unavailable (database)."""
        self._forget_past_failures()
        # Each job that comes up is done or put off, so both loops end.
        while jobs := await self._unmeasured():
            for job in jobs:
                await self._try(job, self._measure)
        while jobs := await self._due():
            for job in jobs:
                await self._try(job, self._remove)
        await self._release()
        return await self._seconds_to_next()

    async def _doubt_a_clock_that_is_far_ahead(self) -> None:
        """Where nothing has happened for long, it may be the clock that is wrong."""
        async with self._database.read() as connection:
            newest = await rows.newest_time(connection)
        if newest is not None and time.time() - newest > _LONG_QUIET_SECONDS:
            self._clock.doubt()
            log.info("nothing is removed for a while", reason="nothing has happened for long, or the clock is ahead")

    async def _unmeasured(self) -> list[JobSource]:
        async with self._database.read() as connection:
            return await rows.unmeasured(connection, without=self._again_at, limit=_AT_ONCE)

    async def _due(self) -> list[JobSource]:
        if not self._retention_seconds or self._clock.is_doubted:
            return []
        before = time.time() - self._retention_seconds
        async with self._database.read() as connection:
            return await rows.ended_before(connection, before, without=self._again_at, limit=_AT_ONCE)

    async def _try(self, job: JobSource, work: Callable[[JobSource], Awaitable[None]]) -> None:
        try:
            await work(job)
        except StokerError as error:
            if isinstance(error, NotFound) and job.kind == "activity" and not await self._holds.held(job.profile_id):
                # What was done to an environment does not keep its profile; without it nobody gets to the folder.
                await self._removal.forget(job)
                log.info("job removed", job_id=job.id, reason="its profile is gone")
                return
            self._again_at[job.id] = time.monotonic() + _AGAIN_SECONDS
            log.warning("job not tidied", job_id=job.id, reason=error.message)

    async def _measure(self, job: JobSource) -> None:
        agent = await self._agents.of(job)
        measure = await agent.measure(folder_of(job))
        async with self._database.write() as connection:
            await rows.store_disk_bytes(connection, job.id, measure.bytes)

    async def _remove(self, job: JobSource) -> None:
        await self._removal.remove(job)
        log.info("job removed", job_id=job.id, reason="its retention is over")

    async def _release(self) -> None:
        try:
            await self._holds.release_unused()
            if time.monotonic() >= self._reconcile_at:
                await self._holds.reconcile()
                self._reconcile_at = time.monotonic() + _RECONCILE_SECONDS
        except StokerError as error:
            log.info("holds wait", reason=error.message)
            self._reconcile_at = max(self._reconcile_at, time.monotonic() + _AGAIN_SECONDS)

    async def _seconds_to_next(self) -> float:
        pause = min(_LONGEST_PAUSE_SECONDS, max(0.0, self._reconcile_at - time.monotonic()))
        if self._again_at:
            pause = min(pause, _AGAIN_SECONDS)
        if self._retention_seconds:
            async with self._database.read() as connection:
                first = await rows.first_end(connection)
            if first is not None and not self._again_at:
                pause = min(pause, max(0.0, first + self._retention_seconds - time.time()))
        return pause

    def _forget_past_failures(self) -> None:
        now = time.monotonic()
        self._again_at = {job_id: moment for job_id, moment in self._again_at.items() if moment > now}
