"""Reads what runners wrote into the rows, and draws the verdict when a batch has ended.

Messages say where to look; what is stored is only what was read from the resource itself. Each stretch of a file is
stored in one transaction with the offset up to which it was read, so nothing is counted twice, whoever reads it.
"""

import time
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.job_agents import JobAgents, batch_folder_of, folder_of
from services.executor.records import EventRecord, Records, ResultRecord
from services.executor.repositories import leases
from services.executor.repositories.batches import find_batch, move_batch
from services.executor.repositories.progress import Moves, encode, lock_job, settle
from services.executor.repositories.units import apply_records, end_unfinished
from services.executor.states import FINAL_BATCH_STATES
from services.executor.verdicts import Ending, Verdict, ending, judge_local
from shared.database import Database
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.pipes import AgentConnection, Evidence, Place

log = get_logger()

_STRETCH_BYTES = 4 * 1024 * 1024
_LAUNCHED = ("launching", "queued", "running")


class Collector:
    """Brings one batch at a time up to date with its folder."""

    def __init__(
        self,
        *,
        holder: str,
        database: Database,
        agents: JobAgents,
        lease_seconds: float = 30.0,
    ) -> None:
        self._holder = holder
        self._database = database
        self._agents = agents
        self._lease_seconds = lease_seconds

    async def collect(self, batch_id: str) -> None:
        """Read what is new of a batch and end it if the evidence says so. Raises Unavailable; repeating is safe."""
        async with self._database.write() as connection:
            batch = await find_batch(connection, batch_id)
            if batch is None or batch.state not in _LAUNCHED:
                return
            if not await leases.acquire(connection, batch.job_id, self._holder, self._lease_seconds):
                return
            job = await lock_job(connection, batch.job_id)
        agent = await self._agents.of(job)
        found, verdict = await self._look(agent, job, batch)
        failpoint("collector.looked")
        await self._read_on(agent, job, batch, found)
        failpoint("collector.read")
        if verdict is not Verdict.GO_ON:
            await self._end(job.id, batch, verdict, found.runner_log_tail.strip())
        failpoint("collector.ended")

    async def _look(self, agent: AgentConnection, job: Row[Any], batch: Row[Any]) -> tuple[Evidence, Verdict]:
        place, name = folder_of(job), f"{batch.batch_index:05d}"
        found = (await agent.find(place, [name]))[name]
        verdict = judge_local(found)
        if verdict in (Verdict.RUNNER_DIED, Verdict.NEVER_CLAIMED):
            # Make it certain before it is believed: after this no launch can start, strays are gone, and what a dying
            # runner wrote last is seen by the second look.
            await agent.revoke(place, [name])
            found = (await agent.find(place, [name]))[name]
            again = judge_local(found)
            verdict = verdict if again is Verdict.REVOKED else again
        return found, verdict

    async def _read_on(self, agent: AgentConnection, job: Row[Any], batch: Row[Any], found: Evidence) -> None:
        """Store everything up to the lengths that were found."""
        folder = batch_folder_of(job, batch.batch_index)
        events_offset, results_offset = batch.events_offset, batch.results_offset
        while True:
            events = Records(
                await _stretch(agent, folder / "events.jsonl", events_offset, found.events_length), EventRecord
            )
            results = Records(
                await _stretch(agent, folder / "results.jsonl", results_offset, found.results_length), ResultRecord
            )
            if not events.length and not results.length:
                return
            async with self._database.write() as connection:
                if not await self._store(connection, job.id, batch, (events_offset, results_offset), events, results):
                    return
            events_offset += events.length
            results_offset += results.length

    async def _store(
        self,
        connection: AsyncConnection,
        job_id: str,
        batch: Row[Any],
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
        moves = Moves()
        await move_batch(connection, batch.id, _LAUNCHED, **values)
        await apply_records(connection, job_id, batch.batch_index, starts, list(results), moves)
        await settle(connection, job, moves)
        if events.unreadable or results.unreadable:
            log.warning("records left out", batch_id=batch.id, count=events.unreadable + results.unreadable)
        return True

    async def _end(self, job_id: str, batch: Row[Any], verdict: Verdict, last_words: str) -> None:
        async with self._database.write() as connection:
            job = await lock_job(connection, job_id)
            how = ending(verdict, cancel_requested=job.cancel_requested_at is not None, detail=last_words)
            if how is not None:
                moves = Moves()
                await _end_batch(connection, batch, how, moves)
                await settle(connection, job, moves)
            await leases.release(connection, job_id, self._holder)


async def _end_batch(connection: AsyncConnection, batch: Row[Any], how: Ending, moves: Moves) -> None:
    now = time.time()
    reason = None if how.batch_reason is None else encode(how.batch_reason)
    if await move_batch(connection, batch.id, _LAUNCHED, state=how.batch_state, ended_at=now, reason=reason):
        await end_unfinished(
            connection, batch.job_id, batch.batch_index, started=how.started, waiting=how.waiting, at=now, moves=moves
        )


async def _stretch(agent: AgentConnection, file: Place, offset: int, length: int | None) -> bytes:
    """Bytes from `offset` up to `length`, at most a stretch of them."""
    if length is None or length <= offset:
        return b""
    return (await agent.read_slice(file, offset, min(_STRETCH_BYTES, length - offset))).data
