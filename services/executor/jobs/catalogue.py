"""What callers may look at: jobs, batches and units, each of which is absent for whom it does not belong to."""

from collections.abc import Callable

import msgspec

from services.executor.jobs.access import may_see
from services.executor.model.json_text import decode_reason
from services.executor.model.missing import check_id, no_such_job
from services.executor.model.moments import moment
from services.executor.model.states import FINAL_JOB_STATES
from services.executor.repositories import jobs as job_rows
from services.executor.repositories import unit_pages
from services.executor.repositories.attempts import attempts_of
from services.executor.repositories.batches import batches_from
from services.executor.repositories.rows import BatchRow, JobSource
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

    async def stored(self, caller: Caller, job_id: str) -> Job:
        """One job as it is stored."""
        check_id(job_id, no_such_job(job_id))
        async with self._database.read() as connection:
            job = await job_rows.find_job(connection, job_id)
        if job is None or not may_see(caller, job):
            raise no_such_job(job_id)
        return job

    async def source(self, caller: Caller, job_id: str) -> JobSource:
        """What a job was made of, and how it was reached when it was accepted."""
        check_id(job_id, no_such_job(job_id))
        async with self._database.read() as connection:
            source = await job_rows.find_job_source(connection, job_id)
        if source is None or not may_see(caller, source):
            raise no_such_job(job_id)
        return source

    async def job(self, caller: Caller, job_id: str) -> Job:
        """One job as it is shown."""
        return self._shown(await self.stored(caller, job_id))

    async def jobs(
        self, caller: Caller, wanted: job_rows.JobFilter, *, before_id: str | None, limit: int
    ) -> tuple[list[Job], str | None]:
        """Jobs behind an id, the newest first, and the id behind which there are more."""
        if caller.role == "user":
            wanted = msgspec.structs.replace(wanted, owner=caller.owner)
        async with self._database.read() as connection:
            found = await job_rows.list_jobs(connection, wanted, before_id=before_id, limit=limit + 1)
        items = [self._shown(job) for job in found[:limit]]
        return items, items[-1].id if len(found) > limit else None

    def _shown(self, job: Job) -> Job:
        """The job; while nothing is heard of it, it says so instead of what it waited for when something was."""
        if job.state not in FINAL_JOB_STATES and (trouble := self._trouble(job.profile_id)):
            return msgspec.structs.replace(job, waiting_for=trouble)
        return job

    async def batches(
        self, caller: Caller, job_id: str, *, after: int | None, limit: int
    ) -> tuple[list[Batch], int | None]:
        """A job's batches behind an index, in order, and the index behind which there are more."""
        first = 0 if after is None else after + 1
        await self.stored(caller, job_id)
        async with self._database.read() as connection:
            found = await batches_from(connection, job_id, first, limit + 1)
            shown = found[:limit]
            indices = [row.batch_index for row in shown]
            counts = await unit_pages.counts_by_batch(connection, job_id, indices) if indices else {}
        items = [_show_batch(row, counts.get(row.batch_index, Counts())) for row in shown]
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
        items = found[:limit]
        return items, items[-1].index if len(found) > limit else None

    async def _require(self, caller: Caller, job_id: str) -> None:
        """Raise NotFound unless the caller may see the job. Owners never change, so they are remembered."""
        owner = self._owners.get(job_id)
        if owner is None:
            owner = (await self.stored(caller, job_id)).owner
            if len(self._owners) >= _REMEMBERED_OWNERS:
                self._owners.clear()
            self._owners[job_id] = owner
        if caller.role == "user" and caller.owner != owner:
            raise no_such_job(job_id)

    async def attempts(self, caller: Caller, job_id: str, index: int) -> list[Attempt]:
        """The attempts of a unit that others followed, in order; the latest is the unit itself."""
        await self.unit(caller, job_id, index)
        async with self._database.read() as connection:
            return await attempts_of(connection, job_id, index)

    async def unit(self, caller: Caller, job_id: str, index: int) -> Unit:
        """One unit."""
        await self._require(caller, job_id)
        unit = None
        if 0 <= index < MAX_UNITS:
            async with self._database.read() as connection:
                unit = await unit_pages.find_unit(connection, job_id, index)
        if unit is None:
            raise NotFound(f"Job {job_id} has no unit {index}")
        return unit


def _show_batch(row: BatchRow, counts: Counts) -> Batch:
    """One batch with the counts of its units."""
    return Batch(
        id=row.id,
        index=row.batch_index,
        state=row.state,
        unit_count=row.unit_count,
        parallel=row.parallel,
        counts=counts,
        native_id=row.native_id,
        host=row.host,
        reason=decode_reason(row.reason),
        waiting_for=row.note,
        estimated_start=moment(row.estimated_start),
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
        cpu_seconds=row.cpu_seconds,
        peak_memory_bytes=row.peak_memory_bytes,
        remark=_remark(row.left_out, row.remark),
    )


def _remark(left_out: int, more: str | None) -> str | None:
    """What of a batch's files could not be taken."""
    records = "1 record was" if left_out == 1 else f"{left_out:,} records were"
    words = f"{records} left out: not what a runner writes" if left_out else ""
    return "; ".join(filter(None, (words, more))) or None
