"""Brings accepted jobs to their resource, and stops those that are to be cancelled.

Every step can be repeated: a process that dies between any two statements, or a call that took effect although its
answer was lost, leaves a state from which the same steps lead to the same end. What runs twice in spite of that is
settled by the claim on the resource.
"""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.building.uv_program import UvSending
from services.executor.kinds.kind import Kind, Launcher
from services.executor.model.endings import GIVEN_UP, NEVER_STARTED, Ending, ending_again, ending_unstarted
from services.executor.model.states import FINAL_JOB_STATES
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.batch_end import end_batch
from services.executor.progress.settle import settle
from services.executor.repositories import leases
from services.executor.repositories.batches import batches_of, move_batch
from services.executor.repositories.jobs import lock_job, update_job
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.resources.agents import JobAgents, batch_folder_of, batch_name, folder_of
from services.executor.running.batch_file import StagingLimits
from services.executor.running.places import Due, Taken
from services.executor.running.staging import batch_entries, job_entries
from shared.pipes import AgentConnection, LaunchOutcome, Refused, Revocation
from shared.service.bus import Bus
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.logs import get_logger
from stoker.backoff import pause_seconds
from stoker.contracts.jobs import Reason
from stoker.contracts.watches import WATCHES_CHANNEL
from stoker.errors import Invalid, StokerError, Unavailable

log = get_logger()

_LAUNCHED = ("launching", "queued", "running")
_FIRST_PAUSE_SECONDS = 0.5
_PASSING = frozenset({"ENOSPC", "EDQUOT", "EIO", "ESTALE"})
"""What a resource refuses only for now: the job waits, says so, and can be cancelled."""


class Dispatcher:
    """Drives one job at a time from `accepted` to `queued`, or to its cancellation."""

    def __init__(
        self,
        *,
        holder: str,
        database: Database,
        bus: Bus,
        agents: JobAgents,
        kinds: Mapping[str, Kind],
        limits: StagingLimits,
        uv: UvSending,
        lease_seconds: float = 30.0,
        longest_pause_seconds: float = 60.0,
    ) -> None:
        self._holder = holder
        self._database = database
        self._bus = bus
        self._agents = agents
        self._kinds = kinds
        self._limits = limits
        self._uv = uv
        self._lease_seconds = lease_seconds
        self._longest_pause_seconds = longest_pause_seconds

    async def find_work(self, taken: Taken) -> list[Due]:
        """Jobs whose turn it is, and that may have a place."""
        async with self._database.read() as connection:
            found = await leases.find_work(
                connection,
                self._holder,
                without_ids=taken.job_ids,
                without_resources=taken.resource_ids,
                without_owners=taken.owners,
            )
        return [Due(*one) for one in found]

    async def drive(self, job_id: str) -> None:
        """Do what the job needs now. Never raises for what went wrong with the job: that is in its row afterwards."""
        async with self._database.write() as connection:
            if not await leases.acquire(connection, job_id, self._holder, self._lease_seconds):
                return
            job = await lock_job(connection, job_id)
        failpoint("dispatcher.leased")
        if job.state in FINAL_JOB_STATES:
            return
        try:
            agent = await self._agents.of(job)
            if job.cancel_requested_at is not None:
                await self._stop(agent, job)
            else:
                await self._launch(agent, job)
        except Unavailable as error:
            await self._rest(job, error.message, error.retry_after_seconds)
        except Refused as error:
            if error.code in _PASSING:
                await self._rest(job, error.message, None)
            else:
                await self._refused(job, error)
        except StokerError as error:
            await self._refused(job, error)
        except Exception:
            log.exception("job not driven", job_id=job_id)
            await self._rest(job, "an unexpected error of the executor, which its log tells; it is tried again", None)

    async def _launch(self, agent: AgentConnection, job: JobRow) -> None:
        await self._stage(agent, job)
        launching = await self._intend(job.id)
        failpoint("dispatcher.intended")
        if not launching:
            return
        launched = await self._launcher_of(job).launch(agent, job, launching)
        failpoint("dispatcher.after_launch")
        answers = launched.answers
        refused = {name: batch for batch in launching if _failed(answers.get(name := batch_name(batch)))}
        async with self._database.write() as connection:
            locked = await lock_job(connection, job.id)
            changes = UnitChanges()
            for batch in launching:
                answer = answers.get(batch_name(batch))
                if answer is None:
                    continue
                if answer.state == "launched":
                    await move_batch(connection, batch.id, ("launching",), state="queued", native_id=answer.native_id)
                elif answer.state == "revoked":
                    await _end(connection, locked, batch, _revoked(locked), changes)
            await settle(connection, locked, changes)
            if not refused:
                await leases.release(connection, job.id, self._holder)
        failpoint("dispatcher.launched")
        if refused:
            message = next(answers[name].message for name in refused)
            await self._abandon(agent, job, refused, Reason(code="launch_failed", text=message))
        await self._hint()
        if launched.waiting is not None:
            raise launched.waiting

    async def _stage(self, agent: AgentConnection, job: JobRow) -> None:
        """Put on the resource what is not there yet: the job's folder, or those of batches that came later."""
        async with self._database.read() as connection:
            new = [batch for batch in await batches_of(connection, job.id, ("planned",)) if not batch.staged]
        if not new:
            return
        failpoint("dispatcher.before_stage")
        if job.kind == "activity":
            await self._uv.prepare(agent, job)
        if not job.staged:
            await agent.stage(folder_of(job), job_entries(self._database, job, new, self._limits))
        else:
            for batch in new:
                place = batch_folder_of(job, batch.batch_index)
                await agent.stage(place, batch_entries(self._database, job, batch, self._limits))
        failpoint("dispatcher.after_stage")
        async with self._database.write() as connection:
            for batch in new:
                await move_batch(connection, batch.id, ("planned",), staged=True)
            await update_job(connection, job.id, staged=True)
            await settle(connection, await lock_job(connection, job.id), UnitChanges())
        failpoint("dispatcher.staged")

    async def _intend(self, job_id: str) -> list[BatchRow]:
        """Write down that the planned batches are about to be launched, unless the job is being cancelled.

        A batch that was still `planned` when its cancellation was stored is never launched: this is the transaction
        that decides it.
        """
        async with self._database.write() as connection:
            job = await lock_job(connection, job_id)
            if job.cancel_requested_at is not None:
                return []
            for batch in await batches_of(connection, job_id, ("planned",)):
                if batch.staged:
                    await move_batch(connection, batch.id, ("planned",), state="launching")
            await settle(connection, job, UnitChanges())
            return await batches_of(connection, job_id, ("launching",))

    async def _stop(self, agent: AgentConnection, job: JobRow) -> None:
        """Revoke what has not been claimed and stop what has; asked again until the ends are known."""
        async with self._database.read() as connection:
            left = {batch_name(batch): batch for batch in await batches_of(connection, job.id, _LAUNCHED)}
        if not left:
            return
        running = await self._revoke(agent, job, left, _revoked(job))
        failpoint("dispatcher.revoked")
        if running:
            await agent.cancel(folder_of(job), running)
            failpoint("dispatcher.cancelled")
            async with self._database.write() as connection:
                await leases.postpone(connection, job.id, self._launcher_of(job).recall_again_seconds, None)
        await self._hint()

    async def _revoke(self, agent: AgentConnection, job: JobRow, left: dict[str, BatchRow], how: Ending) -> list[str]:
        """Claim batches for the service and end those that it got; returns the names of those that a runner has."""
        failpoint("dispatcher.before_revoke")
        claims = await agent.revoke(folder_of(job), list(left))
        failpoint("dispatcher.after_revoke")
        # Before the rows forget them: a launch that is left in a queue would start only to find its batch taken.
        await self._launcher_of(job).recall(agent, job, list(left.values()))
        changes = UnitChanges()
        async with self._database.write() as connection:
            locked = await lock_job(connection, job.id)
            for name, batch in left.items():
                if _is_settled(batch, job, claims[name]):
                    await _end(connection, locked, batch, how, changes)
                elif batch.native_id is None:
                    # Its launch was never recorded, and yet somebody claimed it: it is watched like any other.
                    await move_batch(
                        connection, batch.id, ("launching",), state="queued", native_id=claims[name].claim.native_id
                    )
            await settle(connection, locked, changes)
        return [name for name, batch in left.items() if not _is_settled(batch, job, claims[name])]

    async def _abandon(
        self, agent: AgentConnection, job: JobRow, refused: dict[str, BatchRow], reason: Reason
    ) -> None:
        """Fail batches that the resource could not start, once it is certain that nothing will start them later."""
        try:
            await self._revoke(agent, job, refused, ending_unstarted("revoked", "failed", reason))
        except Invalid as error:
            # What keeps the service from writing a claim there keeps every launch from it, too.
            log.warning("claim not writable", job_id=job.id, reason=error.message)
            await self._fail(job.id, _LAUNCHED, reason)

    async def _fail(self, job_id: str, states: tuple[str, ...], reason: Reason) -> None:
        changes = UnitChanges()
        async with self._database.write() as connection:
            locked = await lock_job(connection, job_id)
            for batch in await batches_of(connection, job_id, states):
                await _end(connection, locked, batch, ending_unstarted("ended", "failed", reason), changes)
            await settle(connection, locked, changes)
            await leases.release(connection, job_id, self._holder)

    async def _rest(self, job: JobRow, message: str, seconds: float | None) -> None:
        grown = pause_seconds(
            job.tries + 1, first_seconds=_FIRST_PAUSE_SECONDS, longest_seconds=self._longest_pause_seconds
        )
        pause = max(seconds or 0.0, grown)
        log.warning("job waits", job_id=job.id, reason=message, seconds=round(pause, 2))
        async with self._database.write() as connection:
            await leases.postpone(connection, job.id, pause, message)
            await leases.release(connection, job.id, self._holder)

    async def _refused(self, job: JobRow, error: StokerError) -> None:
        """The resource said no for good. Before the intent to launch is written, the rows alone decide."""
        async with self._database.read() as connection:
            left = {batch_name(batch): batch for batch in await batches_of(connection, job.id, _LAUNCHED)}
        log.warning("job refused", job_id=job.id, reason=error.message)
        if not left:
            await self._fail(job.id, ("planned",), Reason(code="staging_failed", text=error.message))
            return
        try:
            await self._abandon(
                await self._agents.of(job), job, left, Reason(code="launch_failed", text=error.message)
            )
        except StokerError as again:
            await self._rest(job, again.message, None)

    def _launcher_of(self, job: JobRow) -> Launcher:
        return self._kinds[job.placement].launcher

    async def _hint(self) -> None:
        """Tell the poller that the watch list changed; it looks every few seconds anyway."""
        try:
            await self._bus.publish(WATCHES_CHANNEL, b"")
        except Unavailable as error:
            log.info("hint not sent", reason=error.message)


def _failed(answer: LaunchOutcome | None) -> bool:
    return answer is not None and answer.state == "failed"


def _is_settled(batch: BatchRow, job: JobRow, revocation: Revocation) -> bool:
    """Whether nobody runs the batch, or ever will."""
    if revocation.claim.kind != "damaged":
        return revocation.claim.kind == "revoked"
    # Nobody can claim it any more. Of a launch that SLURM knows, SLURM says whether it lives.
    return revocation.alive is not True and (job.placement == "local" or batch.native_id is None)


def _revoked(job: JobRow) -> Ending:
    if job.cancel_requested_at is not None:
        return ending_unstarted("revoked", "cancelled", NEVER_STARTED)
    return ending_again("revoked", "lost", GIVEN_UP)


async def _end(connection: AsyncConnection, job: JobRow, batch: BatchRow, how: Ending, changes: UnitChanges) -> None:
    """End a batch that no runner ran."""
    await end_batch(connection, job, batch, how, changes, before=("planned", *_LAUNCHED))
