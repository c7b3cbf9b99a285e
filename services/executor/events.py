"""The stream of events: places for what was committed, and waking those who wait for more.

A position is given after the commit of an event, by one giver at a time, so positions become visible in order. Giving
them is a second transaction; if the process dies before it, the next start (or another executor) does it.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property

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
_RECENT_AT_MOST = 2000
_NOTHING_KEPT = 2**63

_encode = msgspec.json.Encoder().encode


class Told:
    """An event as it is told: made into bytes once, whoever and however many listen."""

    def __init__(self, event: JobEvent, owner: str) -> None:
        self.event = event
        self.owner = owner

    @cached_property
    def written(self) -> bytes:
        """A Server-Sent Event: its id is the position, its data a `JobEvent`."""
        event = self.event
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.position, event.type.encode(), _encode(event))


class EventReader:
    """One reader's place in the stream. It is woken by what it wants to hear, and by nothing else."""

    def __init__(self, stream: "EventStream", after: int, owner: str | None, job_id: str | None) -> None:
        self._stream = stream
        self._after = after
        self.owner = owner
        self.job_id = job_id
        self.moved = asyncio.Event()

    async def more(self) -> list[Told]:
        """The next events, in order; none when all that there are have been given. Raises Unavailable."""
        self.moved.clear()
        tip = self._stream.tip
        if self._after >= self._stream.recent_from:
            found = [one for one in self._stream.recent_after(self._after) if self._wants(one)][:_A_PAGE]
        else:
            found = await self._stream.read(self._after, self.owner, self.job_id, _A_PAGE)
        if len(found) == _A_PAGE:
            self._after = found[-1].event.position
        else:
            # What lies before the tip and was not found belongs to others.
            self._after = max(self._after, tip, *(one.event.position for one in found[-1:]))
        return found

    async def wait(self, seconds: float, stopping: asyncio.Event) -> bool:
        """Wait until there may be more than `more` gave; False when there was nothing within `seconds`."""
        return await first_of(seconds, self.moved, stopping)

    def _wants(self, told: Told) -> bool:
        return self.owner in (None, told.owner) and self.job_id in (None, told.event.job_id)


class EventStream:
    """Gives positions, publishes, and lets readers wait.

    `tip` is the newest position known here. The events from `recent_from` (exclusive) to it are kept, so that each is
    read once for all readers; who lags behind reads the rows.
    """

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._committed = asyncio.Event()
        self._unpublished: asyncio.Queue[JobEvent] = asyncio.Queue(_UNPUBLISHED_AT_MOST)
        self._readers: defaultdict[tuple[str, str | None], set[EventReader]] = defaultdict(set)
        self._recent: list[Told] = []
        self.recent_from = _NOTHING_KEPT
        self.tip = 0

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
        reader = EventReader(self, after, owner, job_id)
        key = ("owner", owner) if job_id is None else ("job", job_id)
        self._readers[key].add(reader)
        self._committed.set()
        try:
            yield reader
        finally:
            self._readers[key].discard(reader)
            if not self._readers[key]:
                del self._readers[key]

    async def read(self, after: int, owner: str | None, job_id: str | None, limit: int) -> list[Told]:
        """Events behind a position, from the rows."""
        async with self._database.read() as connection:
            found = await read_stream(connection, after=after, owner=owner, job_id=job_id, limit=limit)
        return [Told(event, of) for event, of in found]

    def recent_after(self, position: int) -> list[Told]:
        """The kept events behind a position, which is not before `recent_from`."""
        return self._recent[bisect_right(self._recent, position, key=_position_of) :]

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
                    await self._catch_up()
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
        if given[0][0].position == self.tip + 1:
            self._tell([Told(event, owner) for event, owner in given])
        elif self._readers:
            await self._catch_up()
        for event, _ in given:
            with contextlib.suppress(asyncio.QueueFull):
                self._unpublished.put_nowait(event)
        return True

    async def _catch_up(self) -> None:
        """Tell what got its place elsewhere, or before this process began; of long ago only that it was."""
        newest = await self.last_position()
        if newest - self.tip > _RECENT_AT_MOST:
            self._recent, self.recent_from, self.tip = [], newest, newest
            self._wake_readers(list(self._readers))
        while self.tip < newest:
            if found := await self.read(self.tip, None, None, _A_PAGE):
                self._tell(found)
            else:
                self.tip = newest  # what is missing was of jobs that have been removed since

    def _tell(self, told: list[Told]) -> None:
        """Keep events that follow the tip, and wake whoever wants to hear of them."""
        if self.recent_from == _NOTHING_KEPT:
            self.recent_from = self.tip
        self._recent += told
        self.tip = told[-1].event.position
        if len(self._recent) > 2 * _RECENT_AT_MOST:
            dropped = len(self._recent) - _RECENT_AT_MOST
            self.recent_from = _position_of(self._recent[dropped - 1])
            del self._recent[:dropped]
        self._wake_readers(
            {key for one in told for key in (("job", one.event.job_id), ("owner", one.owner), ("owner", None))}
        )

    def _wake_readers(self, keys: Collection[tuple[str, str | None]]) -> None:
        for key in keys:
            for reader in self._readers.get(key, ()):
                reader.moved.set()

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


def _position_of(told: Told) -> int:
    return told.event.position
