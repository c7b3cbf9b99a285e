"""Verdicts on batches of a SLURM cluster: gathers the evidence of all that are in question by few calls."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.executor.kinds.kind import Judged, Launcher
from services.executor.kinds.slurm.absences import Absences
from services.executor.kinds.slurm.evidence import CLOCK_SLACK_SECONDS, EndSeen, KnownLaunch, SlurmEvidence
from services.executor.kinds.slurm.looks import SchedulerLooks
from services.executor.kinds.slurm.verdicts import End, GoOn, Graces, judge_slurm
from services.executor.planning.growth import growth_of, needs_of
from services.executor.repositories.jobs import is_to_be_cancelled
from services.executor.repositories.launches import Launch, launches_of
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import max_restarts, submit_of
from services.executor.resources.agents import JobAgents, batch_name, folder_of, native_ids_of
from shared.pipes import AgentConnection, Evidence
from shared.service.database.transactions import Database
from shared.service.logs import get_logger
from shared.slurm.answers.accounting import Accounting
from shared.slurm.answers.digests import digest_of
from shared.slurm.answers.queue import Queue
from stoker.contracts.holds import Connection
from stoker.errors import Unavailable

log = get_logger()

_END_SEEN = msgspec.json.Decoder(EndSeen)


class SlurmJudge:
    """See `Judge`."""

    def __init__(
        self, *, database: Database, agents: JobAgents, looks: SchedulerLooks, launcher: Launcher, graces: Graces
    ) -> None:
        self._database = database
        self._agents = agents
        self._looks = looks
        self._launcher = launcher
        self._graces = graces
        self._unknown_words: set[str] = set()
        self._absences = Absences()

    async def judge(
        self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow], found: Mapping[str, Evidence]
    ) -> dict[str, Judged]:
        """See `Judge`."""
        # Files first, then the queue, then the accounting: what ends meanwhile is seen as ending, never as absent.
        said = await self._ask(job, batches, found)
        verdicts = await self._verdicts(job, batches, found, said)
        doubted = [batch for batch in batches if _wants_revocation(verdicts[batch.id])]
        restartable = [batch for batch in batches if _may_start_again(job, batch, verdicts, found)]
        silent = [batch for batch in batches if _may_go_on(batch, verdicts, found)]
        stopped = [batch for batch in batches if batch in restartable or batch in silent]
        if unfenced := [batch for batch in batches if batch in doubted or batch in stopped]:
            # Make it certain before it is believed: after this no launch can start, one that SLURM puts back into its
            # queue runs nothing, and a runner that outlives its job's end starts no further unit.
            if doubted:
                await agent.revoke(folder_of(job), [batch_name(batch) for batch in doubted])
            if stopped:
                await agent.cancel(folder_of(job), [batch_name(batch) for batch in stopped])
            names = [batch_name(batch) for batch in unfenced]
            found = {**found, **await agent.find(folder_of(job), names, native_ids_of(unfenced))}
            verdicts |= await self._verdicts(job, unfenced, found, said)
        # What SLURM still holds of those that are over would wait in its queue for nothing.
        over = [batch for batch in batches if isinstance(verdicts[batch.id], End)]
        for batch in over:
            self._absences.forget(batch.id)
        if any(said.launch_count(batch) > 1 or batch in restartable for batch in over):
            await self._launcher.recall(agent, job, over)
        return {batch.id: _judged(batch, found[batch_name(batch)], verdicts[batch.id], said) for batch in batches}

    async def _verdicts(
        self, job: JobRow, batches: Sequence[BatchRow], found: Mapping[str, Evidence], said: "_Said"
    ) -> dict[str, GoOn | End]:
        cancelled = await is_to_be_cancelled(self._database, job.id)
        verdicts = {}
        for batch in batches:
            seen = _evidence(job, batch, said, found[batch_name(batch)], cancelled=cancelled)
            absent_since = self._absences.since(batch.id, batch.absent_since, seen.now)
            evidence = msgspec.structs.replace(seen, absent_since=absent_since)
            verdicts[batch.id] = verdict = judge_slurm(evidence, self._graces)
            if isinstance(verdict, GoOn) and verdict.unknown_word is not None:
                self._tell_unknown(verdict.unknown_word)
        return verdicts

    async def _ask(self, job: JobRow, batches: Sequence[BatchRow], found: Mapping[str, Evidence]) -> "_Said":
        async with self._database.read() as database:
            launches = await launches_of(database, job.id)
        if not any(_scheduler_matters(found[batch_name(batch)]) for batch in batches):
            return _Said(launches=launches)
        connection = await self._agents.connection_of(job)
        queue, kept, accounting = None, True, None
        try:
            queue = await self._looks.queue(connection)
            kept = (await self._looks.cluster(connection)).config.accounting
            if kept:
                accounting = await self._accounting(connection, batches, launches, queue)
        except Unavailable as error:
            # No evidence of anything; what the files alone tell is still told.
            log.info("SLURM not asked", job_id=job.id, reason=error.message)
        return _Said(launches=launches, queue=queue, accounting=accounting, accounting_kept=kept)

    async def _accounting(
        self, connection: Connection, batches: Sequence[BatchRow], launches: Sequence[Launch], queue: Queue
    ) -> Accounting:
        """What the accounting says where the queue shows an end, or nothing."""
        asked = [
            launch
            for launch in launches
            if launch.array_job_id is not None
            and any(launch.covers(batch.batch_index) and _over(queue, launch, batch) for batch in batches)
        ]
        if not asked:
            return Accounting([])
        since = min(launch.intended_at for launch in asked) - CLOCK_SLACK_SECONDS
        return await self._looks.accounting(connection, since=since, names=[launch.marker for launch in asked])

    def _tell_unknown(self, word: str) -> None:
        if word not in self._unknown_words:
            self._unknown_words.add(word)
            log.warning("unknown state of a SLURM job", word=word)


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """The launches of a job, and what SLURM says of them; None where it was not asked, or did not answer."""

    launches: list[Launch]
    queue: Queue | None = None
    accounting: Accounting | None = None
    accounting_kept: bool = False

    def covering(self, batch: BatchRow) -> list[Launch]:
        """The launches of one batch."""
        return [launch for launch in self.launches if launch.covers(batch.batch_index)]

    def launch_count(self, batch: BatchRow) -> int:
        """How many launches of a batch SLURM has taken, or may have taken."""
        return sum(launch.state != "refused" for launch in self.covering(batch))


def _wants_revocation(verdict: GoOn | End) -> bool:
    return isinstance(verdict, End) and verdict.revoke_first


def _may_start_again(
    job: JobRow, batch: BatchRow, verdicts: Mapping[str, GoOn | End], found: Mapping[str, Evidence]
) -> bool:
    """Whether SLURM may put a batch back into its queue that is to be taken for ended."""
    if isinstance(verdicts[batch.id], GoOn) or not _scheduler_matters(found[batch_name(batch)]):
        return False
    return max_restarts(submit_of(job)) > 0


def _may_go_on(batch: BatchRow, verdicts: Mapping[str, GoOn | End], found: Mapping[str, Evidence]) -> bool:
    """Whether a runner may live that SLURM has done with: on a node that SLURM only thinks dead."""
    files = found[batch_name(batch)]
    claimed = files.claim is not None and files.claim.kind == "runner"
    return isinstance(verdicts[batch.id], End) and claimed and files.end is None


def _judged(batch: BatchRow, files: Evidence, verdict: GoOn | End, said: _Said) -> Judged:
    if isinstance(verdict, End):
        return Judged(files=files, ending=verdict.ending)
    seen: dict[str, Any] = {
        "note": verdict.note or None,
        "estimated_start": verdict.estimated_start,
        "end_seen": None if verdict.end_seen is None else msgspec.json.encode(verdict.end_seen).decode(),
        "absent_since": verdict.absent_since,
    }
    if said.queue is not None and batch.native_id is not None:
        seen["scheduler"] = digest_of(said.queue, batch.native_id)
    return Judged(files=files, seen=seen)


def _scheduler_matters(files: Evidence) -> bool:
    return files.end is None or files.end.how != "complete"


def _over(queue: Queue, launch: Launch, batch: BatchRow) -> bool:
    rows = queue.of(launch.native_id(batch.batch_index))
    return all(row.state.kind == "terminal" for row in rows)


def _evidence(job: JobRow, batch: BatchRow, said: _Said, files: Evidence, *, cancelled: bool) -> SlurmEvidence:
    launches = said.covering(batch)
    needs = needs_of(job, growth_of(batch))
    return SlurmEvidence(
        now=time.time(),
        uid=next((launch.uid for launch in reversed(launches) if launch.uid is not None), -1),
        markers=frozenset(launch.marker for launch in launches),
        launches=[
            KnownLaunch(launch.native_id(batch.batch_index), launch.intended_at)
            for launch in launches
            if launch.array_job_id is not None
        ],
        files=files,
        queue=said.queue,
        accounting=said.accounting,
        accounting_kept=said.accounting_kept,
        cancel_requested=cancelled,
        end_seen=None if batch.end_seen is None else _END_SEEN.decode(batch.end_seen),
        memory_mb=None if needs.memory_mb is None else needs.memory_mb * batch.parallel,
        limit_seconds=needs.time_seconds,
        grows=(files.events_length or 0) > batch.events_offset or (files.results_length or 0) > batch.results_offset,
    )
