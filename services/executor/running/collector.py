"""Reads what runners wrote into the rows, and draws the verdict when a batch has ended.

Messages say where to look; what is stored is only what was read from the resource itself. Each stretch of a file is
stored in one transaction with the offset up to which it was read, so nothing is counted twice, whoever reads it.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.kinds.kind import Judged, Kind
from services.executor.model.records import (
    LONGEST_EVENT_BYTES,
    EventRecord,
    ResultRecord,
    as_honest,
    longest_result_bytes,
)
from services.executor.model.states import FINAL_BATCH_STATES
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.batch_end import end_batch
from services.executor.progress.settle import settle
from services.executor.progress.unit_outputs import verifier_of
from services.executor.repositories import leases
from services.executor.repositories.batches import batches_of, find_batch, move_batch
from services.executor.repositories.jobs import lock_job, note_silence, note_wait
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import retries_of
from services.executor.repositories.units import apply_records
from services.executor.resources.agents import JobAgents, batch_folder_of, batch_name, folder_of, native_ids_of
from services.executor.running.batch_file import StagingLimits, output_limit_bytes
from services.executor.running.record_file import STRETCH_BYTES, Bounds, RecordFile, Stretch
from shared.pipes import AgentConnection, Evidence, PipeLost
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.logs import get_logger
from shared.slurm.answers.digests import is_over
from stoker.contracts.watches import Observation
from stoker.errors import Unavailable

log = get_logger()

_AT_ONCE_BYTES = 4 * STRETCH_BYTES
_LAUNCHED = ("launching", "queued", "running")
_Stretches = tuple[Stretch[EventRecord], Stretch[ResultRecord]]
# Lines of events.jsonl are short. Besides those of units, a launch that SLURM starts again writes some each time.
_EVENTS_OF_UNIT_BYTES = 512
_BESIDES_UNITS_BYTES = 16 * 1024 * 1024


class Collector:
    """Brings batches of one job at a time up to date with their folders."""

    def __init__(
        self,
        *,
        holder: str,
        database: Database,
        agents: JobAgents,
        kinds: Mapping[str, Kind],
        limits: StagingLimits,
        lease_seconds: float = 30.0,
    ) -> None:
        self._limits = limits
        # Lines that are longer than a stretch fill the memory: one batch at a time.
        self._long_lines = asyncio.Lock()
        self._holder = holder
        self._database = database
        self._agents = agents
        self._kinds = kinds
        self._lease_seconds = lease_seconds

    async def collect(self, job_id: str, hints: Mapping[str, Observation]) -> bool:
        """Read what is new of these batches and end them if the evidence says so; whether there is more to launch.

        `hints` by batch id. Raises Unavailable; repeating is safe.
        """
        async with self._database.write() as connection:
            if not await leases.acquire(connection, job_id, self._holder, self._lease_seconds):
                return False
            job = await lock_job(connection, job_id)
            batches = [one for one in await batches_of(connection, job_id, _LAUNCHED) if one.id in hints]
        if not batches:
            return False
        agent = await self._agents.of(job)
        judge = self._kinds[job.placement].judge
        found = await self._look(agent, job, batches)
        failpoint("collector.looked")
        questioned = _in_question(batches, found, hints)
        verdicts = await judge.judge(agent, job, questioned, found) if questioned else {}
        files = {batch.id: found[batch_name(batch)] for batch in batches}
        files |= {batch_id: judged.files for batch_id, judged in verdicts.items()}
        for group in _read_at_once(batches, files):
            written = [_Written(agent, job, batch, files[batch.id], self._limits) for batch in group]
            for one, first in zip(written, await asyncio.gather(*(one.next() for one in written)), strict=True):
                await self._read_on(job, one, first)
        failpoint("collector.read")
        await self._store_verdicts(job.id, batches, files, verdicts)
        failpoint("collector.ended")
        return await self._has_more(job.id)

    async def _look(self, agent: AgentConnection, job: JobRow, batches: list[BatchRow]) -> dict[str, Evidence]:
        try:
            return await agent.find(folder_of(job), [batch_name(batch) for batch in batches], native_ids_of(batches))
        except PipeLost:
            raise  # it is the resource that is silent, which is told of all of its jobs
        except Unavailable as error:
            if error.message != job.waiting_for:
                async with self._database.write() as connection:
                    await note_silence(connection, job.id, error.message)
            raise

    async def _store_verdicts(
        self, job_id: str, batches: list[BatchRow], files: Mapping[str, Evidence], verdicts: Mapping[str, Judged]
    ) -> None:
        ended = False
        async with self._database.write() as connection:
            job = await lock_job(connection, job_id)
            changes = UnitChanges()
            for batch in batches:
                if (remark := "; ".join(files[batch.id].damage)) and remark != batch.remark:
                    await move_batch(connection, batch.id, _LAUNCHED, remark=remark)
                judged = verdicts.get(batch.id)
                if judged is None:
                    continue
                if judged.ending is not None:
                    ended = True
                    await end_batch(connection, job, batch, judged.ending, changes, before=_LAUNCHED)
                elif judged.seen:
                    await move_batch(connection, batch.id, _LAUNCHED, **judged.seen)
            state = await settle(connection, job, changes)
            if verdicts and state == "queued":
                await note_wait(connection, job_id)
            elif state == "running" and job.waiting_for is not None:
                await note_silence(connection, job_id, None)
            if ended:
                await leases.release(connection, job_id, self._holder)

    async def _has_more(self, job_id: str) -> bool:
        async with self._database.read() as connection:
            return bool(await batches_of(connection, job_id, ("planned",)))

    async def _read_on(self, job: JobRow, written: "_Written", first: _Stretches) -> None:
        """Store everything up to the lengths that were found; `first` was read already."""
        stretches = first
        while True:
            if any(one.long for one in stretches):
                async with self._long_lines:
                    stretches = await written.next(long=True)
                    more = await self._store_next(job, written, stretches)
            else:
                more = await self._store_next(job, written, stretches)
            if not more:
                return
            stretches = await written.next()

    async def _store_next(self, job: JobRow, written: "_Written", stretches: _Stretches) -> bool:
        """Store one stretch of each file; False when there was nothing, or somebody else reads on."""
        if not written.moved_by(stretches):
            return False
        async with self._database.write() as connection:
            if not await self._store(connection, job.id, written, *stretches):
                return False
        written.move(stretches)
        return True

    async def _store(
        self,
        connection: AsyncConnection,
        job_id: str,
        written: "_Written",
        events: Stretch[EventRecord],
        results: Stretch[ResultRecord],
    ) -> bool:
        """Store one stretch, unless another executor has read on meanwhile (then False)."""
        job = await lock_job(connection, job_id)
        batch = written.batch
        present = await find_batch(connection, batch.id)
        if present is None or present.state in FINAL_BATCH_STATES:
            return False
        if (present.events_offset, present.results_offset) != written.offsets:
            return False
        left_out = events.left_out + results.left_out
        values: dict[str, Any] = {
            "events_offset": events.end,
            "results_offset": results.end,
            "left_out": present.left_out + left_out,
        }
        starts = []
        for event in events.records:
            if event.event == "start":
                starts.append(event)
            elif event.event == "claimed" and present.started_at is None:
                values |= {"state": "running", "started_at": event.at, "host": event.host}
                values |= {"note": None, "estimated_start": None}
        changes = UnitChanges()
        await move_batch(connection, batch.id, _LAUNCHED, **values)
        outcomes = [as_honest(result, written.output_limit_bytes) for result in results.records]
        await apply_records(
            connection, job_id, batch.batch_index, starts, outcomes, changes, retries_of(job), verifier_of(job)
        )
        await settle(connection, job, changes)
        if left_out:
            log.warning("records left out", batch_id=batch.id, count=left_out)
        return True


class _Written:
    """What a batch's runner has written, as far as it was found, and how much of it is stored."""

    def __init__(
        self, agent: AgentConnection, job: JobRow, batch: BatchRow, found: Evidence, limits: StagingLimits
    ) -> None:
        self.batch = batch
        self.output_limit_bytes = output_limit_bytes(job, batch, limits)
        self.offsets: tuple[int, int] = (batch.events_offset, batch.results_offset)
        self._left_out: int = batch.left_out
        self._found = found
        folder = batch_folder_of(job, batch.batch_index)
        attempts = batch.unit_count * (1 + retries_of(job).count)
        line = longest_result_bytes(self.output_limit_bytes)
        most_events = _BESIDES_UNITS_BYTES + attempts * _EVENTS_OF_UNIT_BYTES
        most_results = _BESIDES_UNITS_BYTES + attempts * line
        self._events = RecordFile(
            agent, folder / "events.jsonl", EventRecord, Bounds(LONGEST_EVENT_BYTES, most_events)
        )
        self._results = RecordFile(agent, folder / "results.jsonl", ResultRecord, Bounds(line, most_results))

    async def next(self, *, long: bool = False) -> _Stretches:
        """What follows in both files, up to the lengths that were found."""
        offset, found = self.offsets, self._found
        return await asyncio.gather(
            self._events.read(offset[0], found.events_length, left_out=self._left_out, long=long),
            self._results.read(offset[1], found.results_length, left_out=self._left_out, long=long),
        )

    def moved_by(self, stretches: _Stretches) -> bool:
        """Whether there is anything in them."""
        return (stretches[0].end, stretches[1].end) != self.offsets

    def move(self, stretches: _Stretches) -> None:
        """Go on behind them."""
        self.offsets = (stretches[0].end, stretches[1].end)
        self._left_out += stretches[0].left_out + stretches[1].left_out


def _in_question(
    batches: list[BatchRow], found: Mapping[str, Evidence], hints: Mapping[str, Observation]
) -> list[BatchRow]:
    """Batches that may have ended, or of which the scheduler says something new; the others have merely moved on."""
    return [batch for batch in batches if found[batch_name(batch)].ended or _is_in_question(batch, hints[batch.id])]


def _is_in_question(batch: BatchRow, hint: Observation) -> bool:
    if hint.ended or hint.alive is False or hint.events_length is None:
        return True
    return hint.scheduler is not None and (hint.scheduler != (batch.scheduler or "") or is_over(hint.scheduler))


def _read_at_once(batches: Sequence[BatchRow], found: Mapping[str, Evidence]) -> Iterator[list[BatchRow]]:
    """Groups of batches whose first stretches fit into memory together: a long line is waited for once for each."""
    group: list[BatchRow] = []
    size = 0
    for batch in batches:
        seen = found[batch.id]
        lengths = ((batch.events_offset, seen.events_length), (batch.results_offset, seen.results_length))
        wanted = sum(min(STRETCH_BYTES, max(0, (length or 0) - offset)) for offset, length in lengths)
        if group and size + wanted > _AT_ONCE_BYTES:
            yield group
            group, size = [], 0
        group.append(batch)
        size += wanted
    if group:
        yield group
