"""Reads what runners wrote into the rows, and draws the verdict when a batch has ended.

Messages say where to look; what is stored is only what was read from the resource itself. Each stretch of a file is
stored in one transaction with the offset up to which it was read, so nothing is counted twice, whoever reads it.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.kinds.kind import Judged, Kind
from services.executor.model.records import EventRecord, Records, ResultRecord
from services.executor.model.states import FINAL_BATCH_STATES
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.batch_end import end_batch
from services.executor.progress.settle import settle
from services.executor.progress.unit_outputs import verifier_of
from services.executor.repositories import leases
from services.executor.repositories.batches import batches_of, find_batch, move_batch
from services.executor.repositories.jobs import lock_job, note_wait
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import retries_of
from services.executor.repositories.units import apply_records
from services.executor.resources.agents import JobAgents, batch_folder_of, batch_name, folder_of, native_ids_of
from shared.pipes import AgentConnection, Evidence, Place
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.logs import get_logger
from shared.slurm.answers.digests import is_over
from stoker.contracts.watches import Observation

log = get_logger()

_STRETCH_BYTES = 4 * 1024 * 1024
_AT_ONCE_BYTES = 4 * _STRETCH_BYTES
_LAUNCHED = ("launching", "queued", "running")
_Stretches = tuple[Records[EventRecord], Records[ResultRecord]]


class Collector:
    """Brings batches of one job at a time up to date with their folders."""

    def __init__(
        self,
        *,
        holder: str,
        database: Database,
        agents: JobAgents,
        kinds: Mapping[str, Kind],
        lease_seconds: float = 30.0,
    ) -> None:
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
        found = await agent.find(folder_of(job), [batch_name(batch) for batch in batches], native_ids_of(batches))
        failpoint("collector.looked")
        questioned = _in_question(batches, found, hints)
        verdicts = await judge.judge(agent, job, questioned, found) if questioned else {}
        files = {batch.id: found[batch_name(batch)] for batch in batches}
        files |= {batch_id: judged.files for batch_id, judged in verdicts.items()}
        for group in _read_at_once(batches, files):
            stretches = [
                _stretches(agent, job, batch, (batch.events_offset, batch.results_offset), files[batch.id])
                for batch in group
            ]
            for batch, first in zip(group, await asyncio.gather(*stretches), strict=True):
                await self._read_on(agent, job, batch, files[batch.id], first)
        failpoint("collector.read")
        await self._store_verdicts(job.id, batches, verdicts)
        failpoint("collector.ended")
        return await self._has_more(job.id)

    async def _store_verdicts(self, job_id: str, batches: list[BatchRow], verdicts: Mapping[str, Judged]) -> None:
        ended = False
        async with self._database.write() as connection:
            job = await lock_job(connection, job_id)
            changes = UnitChanges()
            for batch in batches:
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
            if ended:
                await leases.release(connection, job_id, self._holder)

    async def _has_more(self, job_id: str) -> bool:
        async with self._database.read() as connection:
            return bool(await batches_of(connection, job_id, ("planned",)))

    async def _read_on(
        self, agent: AgentConnection, job: JobRow, batch: BatchRow, found: Evidence, first: _Stretches
    ) -> None:
        """Store everything up to the lengths that were found; `first` was read already."""
        offsets = (batch.events_offset, batch.results_offset)
        events, results = first
        while events.length or results.length:
            async with self._database.write() as connection:
                if not await self._store(connection, job.id, batch, offsets, events, results):
                    return
            offsets = (offsets[0] + events.length, offsets[1] + results.length)
            events, results = await _stretches(agent, job, batch, offsets, found)

    async def _store(
        self,
        connection: AsyncConnection,
        job_id: str,
        batch: BatchRow,
        offsets: tuple[int, int],
        events: Records[EventRecord],
        results: Records[ResultRecord],
    ) -> bool:
        """Store one stretch, unless another executor has read on meanwhile (then False)."""
        job = await lock_job(connection, job_id)
        present = await find_batch(connection, batch.id)
        if present is None or present.state in FINAL_BATCH_STATES:
            return False
        if (present.events_offset, present.results_offset) != offsets:
            return False
        values: dict[str, Any] = {
            "events_offset": offsets[0] + events.length,
            "results_offset": offsets[1] + results.length,
        }
        starts = []
        for event in events:
            if event.event == "start":
                starts.append(event)
            elif event.event == "claimed" and present.started_at is None:
                values |= {"state": "running", "started_at": event.at, "host": event.host}
                values |= {"note": None, "estimated_start": None}
        changes = UnitChanges()
        await move_batch(connection, batch.id, _LAUNCHED, **values)
        await apply_records(
            connection, job_id, batch.batch_index, starts, list(results), changes, retries_of(job), verifier_of(job)
        )
        await settle(connection, job, changes)
        if events.unreadable or results.unreadable:
            log.warning("records left out", batch_id=batch.id, count=events.unreadable + results.unreadable)
        return True


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
        wanted = sum(min(_STRETCH_BYTES, max(0, (length or 0) - offset)) for offset, length in lengths)
        if group and size + wanted > _AT_ONCE_BYTES:
            yield group
            group, size = [], 0
        group.append(batch)
        size += wanted
    if group:
        yield group


async def _stretches(
    agent: AgentConnection, job: JobRow, batch: BatchRow, offsets: tuple[int, int], found: Evidence
) -> _Stretches:
    """What follows in both files of a batch, up to the lengths that were found."""
    folder = batch_folder_of(job, batch.batch_index)
    events, results = await asyncio.gather(
        _stretch(agent, folder / "events.jsonl", offsets[0], found.events_length),
        _stretch(agent, folder / "results.jsonl", offsets[1], found.results_length),
    )
    return Records(events, EventRecord), Records(results, ResultRecord)


async def _stretch(agent: AgentConnection, file: Place, offset: int, length: int | None) -> bytes:
    """Bytes from `offset` up to `length`: a stretch of them, or more where one line is longer than that."""
    left = (length or 0) - offset
    if left <= 0:
        return b""
    size = min(_STRETCH_BYTES, left)
    while True:
        data = (await agent.read_slice(file, offset, size)).data
        if size == left or b"\n" in data:
            return data
        size = min(4 * size, left)
