"""The stream of events: places for what was committed, and waking those who wait for more.

A position is given after the commit of an event, by one giver at a time, so positions become visible in order. Giving
them is a second transaction; if the process dies before it, the next start (or another executor) does it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec

from services.executor.repositories.events import give_positions, last_position, read_stream, unpositioned
from shared.service.bus import Bus
from shared.service.database.transactions import Database
from shared.service.logs import get_logger
from shared.service.waiting import first_of
from stoker.contracts.events import JobEvent
from stoker.contracts.watches import EVENTS_CHANNEL
from stoker.errors import Unavailable

log = get_logger()

_A_PAGE = 500
_UNPUBLISHED_AT_MOST = 2000
# Events that another executor on the same database gave places to are seen by looking.
_LOOK_WATCHED_SECONDS = 1.0
_LOOK_IDLE_SECONDS = 30.0


class EventReader:
    """One reader's place in the stream."""

    def __init__(self, stream: "EventStream", after: int, owner: str | None, job_id: str | None) -> None:
        self._stream = stream
        self._after = after
        self._owner = owner
        self._job_id = job_id
        self._moved = stream.moved

    async def more(self) -> list[JobEvent]:
        """The next events, in order; none when all that there are have been given. Raises Unavailable."""
        self._moved, tip = self._stream.moved, self._stream.tip
        found = await self._stream.read(self._after, self._owner, self._job_id, _A_PAGE)
        if found:
            self._after = found[-1].position
        if len(found) < _A_PAGE:
            # What lies before the tip and was not found belongs to others.
            self._after = max(self._after, tip)
        return found

    async def wait(self, seconds: float, stopping: asyncio.Event) -> bool:
        """Wait until the stream has moved on since `more` was called; False when it has not within `seconds`."""
        return await first_of(seconds, self._moved, stopping)


class EventStream:
    """Gives positions, publishes, and lets readers wait. `tip` is the newest position known here."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._committed = asyncio.Event()
        self._unpublished: asyncio.Queue[JobEvent] = asyncio.Queue(_UNPUBLISHED_AT_MOST)
        self._readers = 0
        self.tip = 0
        self.moved = asyncio.Event()

    def wake(self) -> None:
        """Something was committed: there may be events without a position."""
        self._committed.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Give positions and publish until the context is left."""
        tasks = [asyncio.create_task(self._give_positions()), asyncio.create_task(self._publish())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def reader(self, *, after: int, owner: str | None, job_id: str | None) -> Iterator[EventReader]:
        """A reader of what comes behind position `after`, of one owner (None: all) and one job (None: all)."""
        self._readers += 1
        self._committed.set()
        try:
            yield EventReader(self, after, owner, job_id)
        finally:
            self._readers -= 1

    async def read(self, after: int, owner: str | None, job_id: str | None, limit: int) -> list[JobEvent]:
        """Events behind a position."""
        async with self._database.read() as connection:
            return await read_stream(connection, after=after, owner=owner, job_id=job_id, limit=limit)

    async def last_position(self) -> int:
        """The position of the newest event."""
        async with self._database.read() as connection:
            return await last_position(connection)

    async def _give_positions(self) -> None:
        while True:
            self._committed.clear()
            try:
                while await self._give():
                    pass
                if self._readers:
                    self._move(await self.last_position())
            except Unavailable as error:
                log.warning("events wait for their positions", reason=error.message)
            except Exception:
                log.exception("events wait for their positions")
            await first_of(_LOOK_WATCHED_SECONDS if self._readers else _LOOK_IDLE_SECONDS, self._committed)

    async def _give(self) -> bool:
        """Give one lot of events their places; False when there were none."""
        async with self._database.read() as connection:
            if not await unpositioned(connection):
                return False
        async with self._database.write() as connection:
            given = await give_positions(connection)
        if not given:
            return False
        self._move(given[-1].position)
        for event in given:
            with contextlib.suppress(asyncio.QueueFull):
                self._unpublished.put_nowait(event)
        return True

    def _move(self, position: int) -> None:
        if position > self.tip:
            self.tip = position
            moved, self.moved = self.moved, asyncio.Event()
            moved.set()

    async def _publish(self) -> None:
        """Tell whoever listens on the bus. A hint: what is lost here is in the stream of record."""
        while True:
            event = await self._unpublished.get()
            try:
                await self._bus.publish(EVENTS_CHANNEL, msgspec.json.encode(event))
            except Unavailable as error:
                log.info("events were not published", reason=error.message, count=self._unpublished.qsize() + 1)
                while not self._unpublished.empty():
                    self._unpublished.get_nowait()
