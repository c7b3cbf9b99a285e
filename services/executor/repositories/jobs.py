"""Jobs: storing a new one with all that belongs to it, finding and listing them, removing them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.missing import no_such_job
from services.executor.model.states import FINAL_JOB_STATES
from services.executor.repositories.events import append_event
from services.executor.repositories.rows import JobRow, JobSource, StoredFile
from services.executor.repositories.shown import JOB, show_job
from services.executor.repositories.tables import batches, job_files, jobs, units
from shared.service.database.transactions import Database
from stoker.contracts.jobs import Counts, Job, PlannedBatch
from stoker.errors import Conflict

_UNITS_A_STATEMENT = 20_000
_IS_WORK = jobs.c.kind == "work"
# Made once: putting a statement together takes as long as running it.
_locked: Select[*tuple[Any, ...]] = (
    select(*JobRow.columns(jobs)).where(jobs.c.id == bindparam("job_id")).with_for_update()
)
_source: Select[*tuple[Any, ...]] = select(*JobSource.columns(jobs))
_job: Select[*tuple[Any, ...]] = select(*JOB).where(jobs.c.id == bindparam("job_id"), _IS_WORK)


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to store. `command`, `spec` and `snapshot` are JSON texts; `created_at` is in epoch seconds."""

    id: str
    name: str
    owner: str
    key_id: str
    profile_id: str
    resource_id: str
    command: str
    spec: str
    snapshot: str
    folder: str
    created_at: float
    unit_count: int
    batches: Sequence[tuple[str, PlannedBatch]]
    """Each batch's id and its plan."""
    kind: str = "work"
    placement: str = "local"
    environment_id: str | None = None
    task: str | None = None
    idempotency_key: str | None = None
    body_sha256: str | None = None


def counts_of(row: JobRow) -> Counts:
    """The counts that a job's row holds."""
    return Counts(**{name: getattr(row, name) for name in Counts.__struct_fields__})


async def lock_job(connection: AsyncConnection, job_id: str) -> JobRow:
    """The job's row, locked until the transaction ends. Raises NotFound."""
    row = (await connection.execute(_locked, {"job_id": job_id})).one_or_none()
    if row is None:
        raise no_such_job(job_id)
    return JobRow(*row)


async def insert_job(connection: AsyncConnection, new: NewJob) -> bool:
    """Store a job with its batches and its first event; units and files are added in the same transaction.

    False, and nothing is stored, when the key has used this idempotency key before.
    """
    insertion = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insertion(jobs).values(
        id=new.id,
        name=new.name,
        state="accepted",
        owner=new.owner,
        key_id=new.key_id,
        profile_id=new.profile_id,
        resource_id=new.resource_id,
        kind=new.kind,
        placement=new.placement,
        environment_id=new.environment_id,
        task=new.task,
        command=new.command,
        spec=new.spec,
        snapshot=new.snapshot,
        folder=new.folder,
        unit_count=new.unit_count,
        waiting=new.unit_count,
        created_at=new.created_at,
        updated_at=new.created_at,
        idempotency_key=new.idempotency_key,
        body_sha256=new.body_sha256,
    )
    statement = statement.on_conflict_do_nothing(index_elements=["key_id", "idempotency_key"])
    # The number of rows that an INSERT made is not told by every driver; what it returns is.
    if (await connection.execute(statement.returning(jobs.c.id))).one_or_none() is None:
        return False
    rows = [
        {
            "id": batch_id,
            "job_id": new.id,
            "batch_index": batch.index,
            "state": "planned",
            "unit_count": batch.unit_count,
            "parallel": batch.parallel,
        }
        for batch_id, batch in new.batches
    ]
    await connection.execute(insert(batches), rows)
    job = await lock_job(connection, new.id)
    if new.kind == "work":
        counts = counts_of(job)
        await append_event(connection, job, type_="job_state", state="accepted", counts=counts, at=new.created_at)
    return True


async def add_units(
    connection: AsyncConnection, job_id: str, plan: Iterable[PlannedBatch], arguments: Sequence[str]
) -> None:
    """Store the units of a new job; `arguments` are JSON texts in the order of the units."""
    batch_of = [batch.index for batch in plan for _ in range(batch.unit_count)]
    await append_units(connection, job_id, 0, arguments, batch_of)


async def append_units(
    connection: AsyncConnection, job_id: str, begin: int, arguments: Sequence[str], batch_of: Sequence[int]
) -> None:
    """Store units with the indices from `begin` on, and the batch of each."""
    for first in range(0, len(arguments), _UNITS_A_STATEMENT):
        texts = arguments[first : first + _UNITS_A_STATEMENT]
        numbers = batch_of[first : first + _UNITS_A_STATEMENT]
        if connection.dialect.name == "postgresql":
            # Rows made by the database from two arrays: ten times as fast as a row a message.
            await connection.execute(
                text(
                    "INSERT INTO units (job_id, unit_index, arguments, batch_index)"
                    " SELECT :job_id, :first + given.place - 1, given.arguments, given.batch"
                    " FROM unnest(CAST(:texts AS text[]), CAST(:numbers AS integer[]))"
                    " WITH ORDINALITY AS given (arguments, batch, place)"
                ),
                {"job_id": job_id, "first": begin + first, "texts": texts, "numbers": numbers},
            )
        else:
            rows = zip(
                [job_id] * len(texts), range(begin + first, begin + first + len(texts)), texts, numbers, strict=True
            )
            await connection.exec_driver_sql(
                "INSERT INTO units (job_id, unit_index, arguments, batch_index) VALUES (?, ?, ?, ?)", list(rows)
            )


async def add_files(connection: AsyncConnection, job_id: str, files: Mapping[str, bytes]) -> None:
    """Store the files of a new job's working folder."""
    if files:
        rows = [{"job_id": job_id, "name": name, "content": content} for name, content in files.items()]
        await connection.execute(insert(job_files), rows)


async def files_of(connection: AsyncConnection, job_id: str) -> list[StoredFile]:
    """The files of a job's working folder."""
    query: Select[*tuple[Any, ...]] = select(*StoredFile.columns(job_files)).where(job_files.c.job_id == job_id)
    return [StoredFile(*row) for row in await connection.execute(query)]


async def copy_units_and_files(
    connection: AsyncConnection, source_id: str, job_id: str, plan: Sequence[PlannedBatch]
) -> None:
    """Give a new job the units and files of another one. Raises Conflict when some are gone already."""
    for batch in plan:
        chosen = select(literal(job_id), units.c.unit_index, units.c.arguments, literal(batch.index)).where(
            units.c.job_id == source_id, units.c.unit_index.between(batch.first, batch.first + batch.unit_count - 1)
        )
        names = ["job_id", "unit_index", "arguments", "batch_index"]
        await connection.execute(insert(units).from_select(names, chosen))
    copied = (await connection.execute(select(func.count()).where(units.c.job_id == job_id))).scalar_one()
    if copied != sum(batch.unit_count for batch in plan):
        raise Conflict("The job is being removed: its units are not all there any more")
    files = select(literal(job_id), job_files.c.name, job_files.c.content).where(job_files.c.job_id == source_id)
    await connection.execute(insert(job_files).from_select(["job_id", "name", "content"], files))


async def find_by_idempotency_key(
    connection: AsyncConnection, key_id: str, idempotency_key: str
) -> tuple[Job, str | None] | None:
    """The job that this access key made under this idempotency key, and the checksum of the body it was made of."""
    query: Select[*tuple[Any, ...]] = select(*JOB, jobs.c.body_sha256).where(
        jobs.c.key_id == key_id, jobs.c.idempotency_key == idempotency_key
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (show_job(row), row.body_sha256)


async def find_job(connection: AsyncConnection, job_id: str) -> Job | None:
    """One job as callers see it."""
    row = (await connection.execute(_job, {"job_id": job_id})).one_or_none()
    return None if row is None else show_job(row)


async def find_job_source(connection: AsyncConnection, job_id: str) -> JobSource | None:
    """What a job was made of, and who it belongs to."""
    row = (await connection.execute(_source.where(jobs.c.id == job_id, _IS_WORK))).one_or_none()
    return None if row is None else JobSource(*row)


async def find_activity_source(connection: AsyncConnection, activity_id: str) -> JobSource | None:
    """The same of an activity."""
    query = _source.where(jobs.c.id == activity_id, jobs.c.kind == "activity")
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else JobSource(*row)


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs to list; None: of all. Times are epoch seconds."""

    owner: str | None = None
    state: str | None = None
    profile_id: str | None = None
    resource_id: str | None = None
    name: str | None = None
    created_after: float | None = None
    created_before: float | None = None


async def list_jobs(
    connection: AsyncConnection, wanted: JobFilter, *, before_id: str | None, limit: int
) -> list[Job]:
    """Jobs with ids before `before_id` (None: from the newest), the newest first."""
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
    if before_id is not None:
        given["before_id"] = before_id
    return [show_job(row) for row in await connection.execute(_list(frozenset(given)), given | {"count": limit})]


@cache
def _list(given: frozenset[str]) -> Select[*tuple[Any, ...]]:
    """The statement for these filters; each combination is made once."""
    conditions: dict[str, ColumnElement[bool]] = {
        "created_after": jobs.c.created_at > bindparam("created_after"),
        "created_before": jobs.c.created_at < bindparam("created_before"),
        "before_id": jobs.c.id < bindparam("before_id"),
    } | {name: jobs.c[name] == bindparam(name) for name in ("owner", "state", "profile_id", "resource_id", "name")}
    query = select(*JOB).where(_IS_WORK, *(conditions[name] for name in sorted(given)))
    return query.order_by(jobs.c.id.desc()).limit(bindparam("count"))


async def update_job(connection: AsyncConnection, job_id: str, **values: Any) -> None:
    """Change a locked job."""
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


async def request_cancel(connection: AsyncConnection, job_id: str, by: str, at: float) -> None:
    """Note in a locked job that it is to be cancelled, and let it be driven at once."""
    values = {"cancel_requested_at": at, "cancel_requested_by": by, "updated_at": at, "next_try_at": 0, "tries": 0}
    await update_job(connection, job_id, **values)


async def is_to_be_cancelled(database: Database, job_id: str) -> bool:
    """Whether somebody has asked for that, as of now."""
    query = select(jobs.c.cancel_requested_at).where(jobs.c.id == job_id)
    async with database.read() as connection:
        return (await connection.execute(query)).scalar_one_or_none() is not None


async def note_wait(connection: AsyncConnection, job_id: str) -> None:
    """Let a job say what the first of its batches that has something to say waits for."""
    first = (
        select(batches.c.note)
        .where(batches.c.job_id == job_id, batches.c.note.is_not(None), batches.c.note != "")
        .order_by(batches.c.batch_index)
        .limit(1)
    )
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(waiting_for=first.scalar_subquery()))


async def note_silence(connection: AsyncConnection, job_id: str, words: str | None) -> None:
    """Let a job that has not ended say why nothing is heard of it; None: it is heard again."""
    statement = update(jobs).where(jobs.c.id == job_id, jobs.c.state.not_in(FINAL_JOB_STATES))
    await connection.execute(statement.values(waiting_for=words))


async def delete_units(connection: AsyncConnection, job_id: str, below: int) -> None:
    """Remove a job's units with indices below this: a million of them go in several transactions."""
    await connection.execute(delete(units).where(units.c.job_id == job_id, units.c.unit_index < below))


async def delete_final_job(connection: AsyncConnection, job_id: str) -> bool:
    """Remove an ended job's rows; False when it has not ended or is not there."""
    statement = delete(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(FINAL_JOB_STATES))
    return (await connection.execute(statement)).rowcount == 1
