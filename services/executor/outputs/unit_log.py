"""A unit's part of the log file that it shares with the other units of its slot, read from any offset or followed.

Where the part ends is known once the unit's result is stored. Before that the next unit may have begun to write
behind it, but never unannounced: a runner writes a unit's start, with the place of its log, before it starts the
unit. So the length of the file is taken first and the announcements are read after it; what lies before both is the
unit's.
"""

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from services.executor.jobs.catalogue import JobCatalogue
from services.executor.model.records import LONGEST_EVENT_BYTES, EventRecord, Records
from services.executor.repositories.batches import batch_at
from services.executor.repositories.rows import JobSource, UnitLogRow
from services.executor.repositories.unit_pages import find_unit_log, next_log_start
from services.executor.resources.agents import JobAgents, batch_folder_of
from shared.pipes import AgentConnection, Place, Refused
from shared.service.database.transactions import Database
from shared.service.waiting import first_of
from stoker.contracts.jobs import FINAL_UNIT_STATES
from stoker.contracts.keys import Caller
from stoker.errors import NotFound

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_ANNOUNCEMENTS_BYTES = 1024 * 1024
_MOST_ANNOUNCEMENTS_BYTES = 16 * 1024 * 1024


class Stretch(msgspec.Struct, frozen=True):
    """Bytes `start` to `end` of the file are the unit's for certain; `final` when no more will follow."""

    start: int
    end: int
    final: bool


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """From which byte of the unit's log, how many (None: all), and whether to wait for those yet to come."""

    offset: int = 0
    limit: int | None = None
    follow: bool = False


class UnitLogs:
    """Opens the logs of units."""

    def __init__(self, database: Database, catalogue: JobCatalogue, agents: JobAgents) -> None:
        self._database = database
        self._catalogue = catalogue
        self._agents = agents

    async def open(
        self, caller: Caller, job_id: str, index: int, wanted: Wanted, stopping: asyncio.Event
    ) -> tuple[int, AsyncGenerator[bytes, None]]:
        """The log's length now, in bytes, and its bytes exactly as they are.

        Raises NotFound, Unavailable; the stream raises Unavailable when the resource goes away.
        """
        job = await self._catalogue.source(caller, job_id)
        await self._catalogue.unit(caller, job_id, index)
        return await self.of_unit(job, index, wanted, stopping)

    async def of_unit(
        self, job: JobSource, index: int, wanted: Wanted, stopping: asyncio.Event
    ) -> tuple[int, AsyncGenerator[bytes, None]]:
        """The same, whoever asks."""
        async with self._database.read() as connection:
            unit = await find_unit_log(connection, job.id, index)
        if unit is None:
            raise NotFound(f"Job {job.id} was removed")
        log = _UnitLog(self._database, self._agents, job, index)
        first = await log.look(unit)
        size = first.end - first.start if first else 0
        return size, log.read(unit, first, wanted, stopping)


class _UnitLog:
    def __init__(self, database: Database, agents: JobAgents, job: JobSource, index: int) -> None:
        self._database = database
        self._agents = agents
        self._job = job
        self._index = index

    async def look(self, unit: UnitLogRow) -> Stretch | None:
        """What is the unit's at this moment; None while it has not begun."""
        if unit.log_slot is None or unit.log_from is None:
            return None
        agent = await self._agents.of(self._job)
        length = (await agent.read_slice(self._file(unit), 0, 0)).size
        # Both places are what the unit's surroundings claim: none lies outside of the file.
        start = min(max(0, unit.log_from), length)
        if unit.log_to is not None:
            return Stretch(start, min(max(start, unit.log_to), length), final=True)
        async with self._database.read() as connection:
            # In this order: what is stored between the two look-ups is read from the file once more.
            batch = await batch_at(connection, self._job.id, unit.batch_index)
            end = await next_log_start(connection, self._job.id, unit)
        over = unit.state in FINAL_UNIT_STATES
        if end is None and not over and batch is not None:
            end = await self._announced(agent, unit, batch.events_offset)
        if end is not None:
            return Stretch(start, min(max(start, end), length), final=True)
        return Stretch(start, length, final=over)

    async def _announced(self, agent: AgentConnection, unit: UnitLogRow, offset: int) -> int | None:
        """Where the next unit of the slot begins, if its start was announced behind what is stored already."""
        events = batch_folder_of(self._job, unit.batch_index) / "events.jsonl"
        until = offset + _MOST_ANNOUNCEMENTS_BYTES
        while offset < until:
            try:
                data = (await agent.read_slice(events, offset, _ANNOUNCEMENTS_BYTES)).data
            except (NotFound, Refused):
                return None  # nothing that a runner wrote
            records = Records(data, EventRecord, LONGEST_EVENT_BYTES)
            for record in records:
                if record.event == "start" and record.slot == unit.log_slot and record.unit != self._index:
                    return record.log_start
            if not records.length or len(data) < _ANNOUNCEMENTS_BYTES:
                return None
            offset += records.length
        return None

    def _file(self, unit: UnitLogRow) -> Place:
        return batch_folder_of(self._job, unit.batch_index) / "logs" / f"slot-{unit.log_slot}.log"

    async def read(
        self, unit: UnitLogRow, stretch: Stretch | None, wanted: Wanted, stopping: asyncio.Event
    ) -> AsyncGenerator[bytes, None]:
        """The bytes that are wanted."""
        done = wanted.offset
        last = None if wanted.limit is None else wanted.offset + wanted.limit
        pause = _FIRST_PAUSE_SECONDS
        while True:
            if stretch is not None:
                available = stretch.end - stretch.start
                until = available if last is None else min(last, available)
                if until > done:
                    agent = await self._agents.of(self._job)
                    source = agent.read(self._file(unit), stretch.start + done, until - done)
                    async with source as chunks:
                        async for chunk in chunks:
                            done += len(chunk)
                            yield chunk
                    pause = _FIRST_PAUSE_SECONDS
                if stretch.final or (last is not None and done >= last):
                    return
            elif unit.state in FINAL_UNIT_STATES:
                return
            if not wanted.follow or await first_of(pause, stopping):
                return
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 1.5)
            unit = await self._again()
            stretch = await self.look(unit)

    async def _again(self) -> UnitLogRow:
        async with self._database.read() as connection:
            unit = await find_unit_log(connection, self._job.id, self._index)
        if unit is None:
            raise NotFound(f"Job {self._job.id} was removed")
        return unit
