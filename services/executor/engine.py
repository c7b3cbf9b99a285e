"""What the executor does by itself: dispatching and collecting; started and stopped as one."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from services.executor.collector import Collector
from services.executor.dispatcher import Dispatcher
from shared.bus import RECONNECTED, Bus
from shared.contracts.watches import OBSERVATIONS_CHANNEL, Observations
from shared.errors import StokerError
from shared.logs import get_logger

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
        # Batches being collected; True where something was seen of one meanwhile, so that it is looked at once more.
        self._collecting: dict[str, bool] = {}
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
                    self._notice(observation.batch_id)

    def _notice(self, batch_id: str) -> None:
        if batch_id in self._collecting:
            self._collecting[batch_id] = True
            return
        self._collecting[batch_id] = True
        self._start(self._collect(batch_id))

    async def _collect(self, batch_id: str) -> None:
        try:
            async with self._collectors:
                while self._collecting[batch_id]:
                    self._collecting[batch_id] = False
                    await self._collector.collect(batch_id)
        except StokerError as error:
            # Seen again and said again as long as the watch list does not show it.
            log.info("batch not collected", batch_id=batch_id, reason=error.message)
        except Exception:
            log.exception("batch not collected", batch_id=batch_id)
        finally:
            del self._collecting[batch_id]
