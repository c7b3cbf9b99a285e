"""What the executor does by itself: dispatching and collecting; started and stopped as one."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from services.executor.running.collector import Collector
from services.executor.running.dispatcher import Dispatcher
from shared.service.bus import RECONNECTED, Bus
from shared.service.logs import get_logger
from stoker.contracts.watches import OBSERVATIONS_CHANNEL, Observation, Observations
from stoker.errors import StokerError

log = get_logger()

_AT_ONCE = 8
_LOOK_FOR_WORK_SECONDS = 2.0


class Engine:
    """Runs the dispatcher while there is work, and the collector when the poller has seen something."""

    def __init__(self, *, dispatcher: Dispatcher, collector: Collector, bus: Bus) -> None:
        self._dispatcher = dispatcher
        self._collector = collector
        self._bus = bus
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._driving: set[str] = set()
        # What was seen of batches, by job: of the jobs that are being collected, and not yet looked at.
        self._hints: dict[str, dict[str, Observation]] = {}
        self._collectors = asyncio.Semaphore(_AT_ONCE)

    def wake(self) -> None:
        """Look for work now: a job was accepted or is to be cancelled."""
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work until the context is left. What is under way then is taken up again by the next start."""
        self._start(self._dispatch())
        self._start(self._listen())
        try:
            yield
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dispatch(self) -> None:
        while True:
            self._woken.clear()
            try:
                for job_id in await self._dispatcher.find_work(_AT_ONCE):
                    if job_id not in self._driving and len(self._driving) < _AT_ONCE:
                        self._driving.add(job_id)
                        self._start(self._drive(job_id))
            except Exception:
                log.exception("work not found out")
            try:
                async with asyncio.timeout(_LOOK_FOR_WORK_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _drive(self, job_id: str) -> None:
        try:
            await self._dispatcher.drive(job_id)
        except Exception:
            log.exception("job not driven", job_id=job_id)
        finally:
            self._driving.discard(job_id)

    async def _listen(self) -> None:
        decoder = msgspec.json.Decoder(Observations)
        async with self._bus.subscribe(OBSERVATIONS_CHANNEL) as messages:
            async for channel, payload in messages:
                if channel == RECONNECTED:
                    # What was said meanwhile is said again: the poller repeats whatever the watch list does not show.
                    continue
                try:
                    seen = decoder.decode(payload)
                except msgspec.DecodeError:
                    log.warning("message not understood", channel=channel)
                    continue
                for observation in seen.observations:
                    self._notice(observation)

    def _notice(self, observation: Observation) -> None:
        job_id = observation.job_id
        if (hints := self._hints.get(job_id)) is not None:
            hints[observation.batch_id] = observation
            return
        self._hints[job_id] = {observation.batch_id: observation}
        self._start(self._collect(job_id))

    async def _collect(self, job_id: str) -> None:
        try:
            async with self._collectors:
                while hints := self._hints[job_id]:
                    self._hints[job_id] = {}
                    if await self._collector.collect(job_id, hints):
                        self.wake()
        except StokerError as error:
            # Seen again and said again as long as the watch list does not show it.
            log.info("job not collected", job_id=job_id, reason=error.message)
        except Exception:
            log.exception("job not collected", job_id=job_id)
        finally:
            del self._hints[job_id]
