"""What the executor does by itself: dispatching and collecting; started and stopped as one."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from services.executor.running.collector import Collector
from services.executor.running.dispatcher import Dispatcher
from services.executor.running.places import Due, Places
from shared.service.bus import RECONNECTED, Bus
from shared.service.logs import get_logger
from stoker.contracts.watches import OBSERVATIONS_CHANNEL, Observation, Observations
from stoker.errors import StokerError

log = get_logger()

_PLACES_OF_RESOURCE = 8
_PLACES_OF_OWNER = 4
_COLLECTED_AT_ONCE = 8
_LOOK_FOR_WORK_SECONDS = 2.0
_UNCHANGED_SECONDS = 1.0
"""A job that was driven without anything happening to it is not driven again before that."""


class Engine:
    """Runs the dispatcher while there is work, and the collector when the poller has seen something."""

    def __init__(self, *, dispatcher: Dispatcher, collector: Collector, bus: Bus) -> None:
        self._dispatcher = dispatcher
        self._collector = collector
        self._bus = bus
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = Places(of_resource=_PLACES_OF_RESOURCE, of_owner=_PLACES_OF_OWNER)
        # When a job was last driven (monotonic), and how its row was then.
        self._driven: dict[str, tuple[float, Due]] = {}
        # What was seen of batches, by job: of the jobs that are being collected, and not yet looked at.
        self._hints: dict[str, dict[str, Observation]] = {}
        self._collectors: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_COLLECTED_AT_ONCE)
        )

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
                while await self._begin():
                    pass
            except Exception:
                log.exception("work not found out")
            try:
                async with asyncio.timeout(_LOOK_FOR_WORK_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _begin(self) -> bool:
        """Begin with jobs whose turn it is and that have a place; False when there were none."""
        now = time.monotonic()
        self._driven = {one: last for one, last in self._driven.items() if now - last[0] < _UNCHANGED_SECONDS}
        due = await self._dispatcher.find_work(self._places.taken)
        begun = [one for one in due if not self._was_just_driven(one) and self._places.take(one)]
        for one in begun:
            self._start(self._drive(one))
        return bool(begun)

    def _was_just_driven(self, due: Due) -> bool:
        last = self._driven.get(due.job_id)
        return last is not None and last[1] == due

    async def _drive(self, due: Due) -> None:
        try:
            await self._dispatcher.drive(due.job_id)
        except Exception:
            log.exception("job not driven", job_id=due.job_id)
        finally:
            self._driven[due.job_id] = (time.monotonic(), due)
            self._places.give_back(due)
            # The place is free for the next.
            self._woken.set()

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
        self._start(self._collect(job_id, observation.resource_id))

    async def _collect(self, job_id: str, resource_id: str) -> None:
        try:
            async with self._collectors[resource_id]:
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
