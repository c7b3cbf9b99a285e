"""What callers may look at: jobs, batches and units, each of which is absent for whom it does not belong to."""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Row

from services.executor.jobs.access import may_see
from services.executor.jobs.views import show_attempt, show_batch, show_job, show_unit
from services.executor.model.absent import check_id, no_such_job
from services.executor.model.states import FINAL_JOB_STATES
from services.executor.repositories import jobs as job_rows
from services.executor.repositories import unit_pages
from services.executor.repositories.attempts import attempts_of
from services.executor.repositories.batches import batches_of
from shared.service.database.transactions import Database
from stoker.contracts.jobs import MAX_UNITS, Attempt, Batch, Counts, Job, Unit
from stoker.contracts.keys import Caller
from stoker.errors import NotFound

_REMEMBERED_OWNERS = 10_000


class JobCatalogue:
    """Reads; every method raises NotFound for what the caller must not see, and Unavailable."""

    def __init__(self, database: Database, trouble: Callable[[str], str | None] = lambda _: None) -> None:
        """Take `trouble`: why a profile's resource is not reached at the moment, None when it is."""
        self._database = database
        self._trouble = trouble
        self._owners: dict[str, str] = {}

    async def row(self, caller: Caller, job_id: str) -> Row[Any]:
        """A job's row (the columns that callers see)."""
        check_id(job_id, no_such_job(job_id))
        async with self._database.read() as connection:
            row = await job_rows.find_job(connection, job_id)
        if row is None or not may_see(caller, row):
            raise no_such_job(job_id)
        return row

    async def source(self, caller: Caller, job_id: str) -> Row[Any]:
        """A job's row with the connection that it was accepted with."""
        check_id(job_id, no_such_job(job_id))
        async with self._database.read() as connection:
            row = await job_rows.find_job_source(connection, job_id)
        if row is None or not may_see(caller, row):
            raise no_such_job(job_id)
        return row

    async def job(self, caller: Caller, job_id: str) -> Job:
        """One job."""
        return self._shown(await self.row(caller, job_id))

    async def jobs(
        self, caller: Caller, wanted: job_rows.JobFilter, *, before_id: str | None, limit: int
    ) -> tuple[list[Job], str | None]:
        """Jobs behind an id, the newest first, and the id behind which there are more."""
        if caller.role == "user":
            wanted = msgspec.structs.replace(wanted, owner=caller.owner)
        async with self._database.read() as connection:
            found = await job_rows.list_jobs(connection, wanted, before_id=before_id, limit=limit + 1)
        items = [self._shown(row) for row in found[:limit]]
        return items, items[-1].id if len(found) > limit else None

    def _shown(self, row: Row[Any]) -> Job:
        """The job; while nothing is heard of it, it says so instead of what it waited for when something was."""
        job = show_job(row)
        if job.state not in FINAL_JOB_STATES and (trouble := self._trouble(job.profile_id)):
            return msgspec.structs.replace(job, waiting_for=trouble)
        return job

    async def batches(
        self, caller: Caller, job_id: str, *, after: int | None, limit: int
    ) -> tuple[list[Batch], int | None]:
        """A job's batches behind an index, in order, and the index behind which there are more."""
        first = 0 if after is None else after + 1
        await self.row(caller, job_id)
        async with self._database.read() as connection:
            found = [row for row in await batches_of(connection, job_id) if row.batch_index >= first]
            counts = await unit_pages.counts_by_batch(connection, job_id)
        items = [show_batch(row, counts.get(row.batch_index, Counts())) for row in found[:limit]]
        return items, items[-1].index if len(found) > limit else None

    async def units(
        self, caller: Caller, job_id: str, *, state: str | None, after: int | None, limit: int
    ) -> tuple[list[Unit], int | None]:
        """A job's units behind an index, in order, and the index behind which there are more."""
        await self._require(caller, job_id)
        async with self._database.read() as connection:
            found = await unit_pages.list_units(
                connection, job_id, state=state, after=-1 if after is None else after, limit=limit + 1
            )
        if not found:
            self._owners.pop(job_id, None)
            await self._require(caller, job_id)
        items = [show_unit(row) for row in found[:limit]]
        return items, items[-1].index if len(found) > limit else None

    async def _require(self, caller: Caller, job_id: str) -> None:
        """Raise NotFound unless the caller may see the job. Owners never change, so they are remembered."""
        owner = self._owners.get(job_id)
        if owner is None:
            owner = (await self.row(caller, job_id)).owner
            if len(self._owners) >= _REMEMBERED_OWNERS:
                self._owners.clear()
            self._owners[job_id] = owner
        if caller.role == "user" and caller.owner != owner:
            raise no_such_job(job_id)

    async def attempts(self, caller: Caller, job_id: str, index: int) -> list[Attempt]:
        """The attempts of a unit that others followed, in order; the latest is the unit itself."""
        await self.unit_row(caller, job_id, index)
        async with self._database.read() as connection:
            return [show_attempt(row) for row in await attempts_of(connection, job_id, index)]

    async def unit_row(self, caller: Caller, job_id: str, index: int) -> Row[Any]:
        """One unit's row."""
        await self._require(caller, job_id)
        row = None
        if 0 <= index < MAX_UNITS:
            async with self._database.read() as connection:
                row = await unit_pages.find_unit(connection, job_id, index)
        if row is None:
            raise NotFound(f"Job {job_id} has no unit {index}")
        return row

    async def unit(self, caller: Caller, job_id: str, index: int) -> Unit:
        """One unit."""
        return show_unit(await self.unit_row(caller, job_id, index))
