"""What callers may look at: jobs, batches and units, each of which is absent for whom it does not belong to."""

from typing import Any

import msgspec
from sqlalchemy import Row

from services.executor.admission import may_see, no_such_job
from services.executor.repositories import jobs as job_rows
from services.executor.repositories import unit_pages
from services.executor.repositories.batches import batches_of
from services.executor.views import show_batch, show_job, show_unit
from shared.contracts.jobs import Batch, Counts, Job, Unit
from shared.contracts.keys import Caller
from shared.contracts.pages import Page
from shared.contracts.problems import FieldError
from shared.database import Database
from shared.errors import Invalid, NotFound

_ID_LENGTH = 26
_BATCHES_A_PAGE = 1000


class Catalogue:
    """Reads; every method raises NotFound for what the caller must not see, and Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def row(self, caller: Caller, job_id: str) -> Row[Any]:
        """A job's row (the columns that callers see)."""
        async with self._database.read() as connection:
            row = await job_rows.find_job(connection, job_id)
        if row is None or not may_see(caller, row):
            raise no_such_job(job_id)
        return row

    async def source(self, caller: Caller, job_id: str) -> Row[Any]:
        """A job's row with the connection that it was accepted with."""
        async with self._database.read() as connection:
            row = await job_rows.find_job_source(connection, job_id)
        if row is None or not may_see(caller, row):
            raise no_such_job(job_id)
        return row

    async def job(self, caller: Caller, job_id: str) -> Job:
        """One job."""
        return show_job(await self.row(caller, job_id))

    async def jobs(self, caller: Caller, wanted: job_rows.JobFilter, *, cursor: str | None, limit: int) -> Page[Job]:
        """A page of jobs, the newest first."""
        if cursor is not None and (len(cursor) != _ID_LENGTH or not cursor.isalnum()):
            raise _wrong_cursor()
        if caller.role == "user":
            wanted = msgspec.structs.replace(wanted, owner=caller.owner)
        async with self._database.read() as connection:
            found = await job_rows.list_jobs(connection, wanted, before_id=cursor, limit=limit + 1)
        items = [show_job(row) for row in found[:limit]]
        return Page(items, items[-1].id if len(found) > limit else None)

    async def batches(self, caller: Caller, job_id: str, *, cursor: str | None) -> Page[Batch]:
        """A page of a job's batches, in order."""
        first = _index(cursor) + 1
        await self.row(caller, job_id)
        async with self._database.read() as connection:
            found = [row for row in await batches_of(connection, job_id) if row.batch_index >= first]
            counts = await unit_pages.counts_by_batch(connection, job_id)
        items = [show_batch(row, counts.get(row.batch_index, Counts())) for row in found[:_BATCHES_A_PAGE]]
        return Page(items, str(items[-1].index) if len(found) > _BATCHES_A_PAGE else None)

    async def units(
        self, caller: Caller, job_id: str, *, state: str | None, cursor: str | None, limit: int
    ) -> Page[Unit]:
        """A page of a job's units, in order."""
        after = _index(cursor)
        async with self._database.read() as connection:
            job = await job_rows.find_owner(connection, job_id)
            if job is None or not may_see(caller, job):
                raise no_such_job(job_id)
            found = await unit_pages.list_units(connection, job_id, state=state, after=after, limit=limit + 1)
        items = [show_unit(row) for row in found[:limit]]
        return Page(items, str(items[-1].index) if len(found) > limit else None)

    async def unit_row(self, caller: Caller, job_id: str, index: int) -> Row[Any]:
        """One unit's row."""
        await self.row(caller, job_id)
        async with self._database.read() as connection:
            row = await unit_pages.find_unit(connection, job_id, index)
        if row is None:
            raise NotFound(f"Job {job_id} has no unit {index}")
        return row

    async def unit(self, caller: Caller, job_id: str, index: int) -> Unit:
        """One unit."""
        return show_unit(await self.unit_row(caller, job_id, index))


def _index(cursor: str | None) -> int:
    """The index behind which a page begins."""
    if cursor is None:
        return -1
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= len("1000000")):
        raise _wrong_cursor()
    return int(cursor)


def _wrong_cursor() -> Invalid:
    return Invalid(
        "The cursor is not valid", [FieldError("cursor", "must be `next_cursor` of the page before, as it was given")]
    )
