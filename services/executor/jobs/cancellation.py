"""Cancelling: what was not launched ends in the transaction that stores the wish; the dispatcher does the rest."""

import time
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.jobs.access import may_see
from services.executor.model.endings import NEVER_STARTED, ending_unstarted
from services.executor.model.missing import no_such_job
from services.executor.model.states import FINAL_JOB_STATES
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.next_attempts import plan_next
from services.executor.progress.settle import settle
from services.executor.repositories.batches import end_planned_batches
from services.executor.repositories.jobs import find_job, lock_job, request_cancel
from services.executor.repositories.rows import JobRow
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from stoker.contracts.jobs import Job
from stoker.contracts.keys import Caller
from stoker.errors import Conflict, Forbidden

_NOT_LAUNCHED = ending_unstarted("revoked", "cancelled", NEVER_STARTED)


class Cancellation:
    """Takes the wish to cancel a job."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake

    async def cancel(self, caller: Caller, job_id: str) -> Job:
        """The job, which is being cancelled from now on or was already.

        Raises NotFound, Conflict (it has ended, and how), Unavailable.
        """
        if caller.role == "service":
            raise Forbidden("jobs are cancelled with an admin's or a user's key")
        async with self._database.write() as connection:
            job = await lock_job(connection, job_id)
            if not may_see(caller, job) or job.kind != "work":
                raise no_such_job(job_id)
            await _request(connection, job, caller)
            shown = await find_job(connection, job_id)
            assert shown is not None  # noqa: S101 - locked by this transaction
        failpoint("cancellation.stored")
        self._wake()
        return shown

    async def of_activity(self, caller: Caller, activity_id: str) -> None:
        """The same for an activity; whether the caller may do so was looked at before."""
        async with self._database.write() as connection:
            await _request(connection, await lock_job(connection, activity_id), caller)
        failpoint("cancellation.stored")
        self._wake()


async def _request(connection: AsyncConnection, job: JobRow, caller: Caller) -> None:
    """Store the wish in a locked job, and end what was not launched. Raises Conflict."""
    if job.state in FINAL_JOB_STATES:
        raise Conflict(f"The job has ended already: it is {job.state}")
    if job.cancel_requested_at is None:
        now = time.time()
        await request_cancel(connection, job.id, caller.owner, now)
        job = await lock_job(connection, job.id)
        changes = UnitChanges()
        # A batch that is still `planned` is launched only after a transaction under the same lock, which
        # will find it revoked: nothing of it can be on its way.
        changes.move_many(await end_planned_batches(connection, job.id, _NOT_LAUNCHED, now), "waiting", "cancelled")
        await plan_next(connection, job, changes)
        await settle(connection, job, changes)
