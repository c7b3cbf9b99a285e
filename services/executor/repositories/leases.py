"""Which executor drives a job. By the database's clock; it spares double effort, it fences nothing."""

from collections.abc import Collection

from sqlalchemy import (
    ColumnElement,
    Float,
    and_,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.states import FINAL_JOB_STATES
from services.executor.repositories.tables import batches, jobs

_FOUND_AT_ONCE = 32


def database_now(connection: AsyncConnection) -> ColumnElement[float]:
    """The database's clock as epoch seconds."""
    if connection.dialect.name == "sqlite":
        return literal_column("(julianday('now') - 2440587.5) * 86400.0", Float)
    return type_coerce(func.extract("epoch", func.clock_timestamp()), Float)


def _dispatchable() -> ColumnElement[bool]:
    # What has no end is in an index of its own, however long the history is.
    of_job = and_(batches.c.job_id == jobs.c.id, batches.c.ended_at.is_(None))
    to_launch = exists().where(and_(of_job, batches.c.state.in_(("planned", "launching"))))
    to_stop = and_(jobs.c.cancel_requested_at.is_not(None), exists().where(of_job))
    return and_(jobs.c.ended_at.is_(None), or_(to_launch, to_stop))


async def find_work(
    connection: AsyncConnection,
    holder: str,
    *,
    without_ids: Collection[str] = (),
    without_resources: Collection[str] = (),
    without_owners: Collection[tuple[str, str]] = (),
) -> list[tuple[str, str, str, float]]:
    """The jobs with something to stage, launch or stop whose turn has come and that nobody else drives.

    Each as (id, resource, owner, when it last changed), some at a time, the first ones first. `without_owners` are
    those of one resource: (resource, owner).
    """
    now = database_now(connection)
    free = or_(jobs.c.lease_holder == holder, jobs.c.lease_until < now)
    elsewhere = [
        not_(and_(jobs.c.resource_id == resource_id, jobs.c.owner == owner)) for resource_id, owner in without_owners
    ]
    query = (
        select(jobs.c.id, jobs.c.resource_id, jobs.c.owner, jobs.c.updated_at)
        .where(
            _dispatchable(),
            free,
            jobs.c.next_try_at <= now,
            jobs.c.id.not_in(without_ids),
            jobs.c.resource_id.not_in(without_resources),
            *elsewhere,
        )
        .order_by(jobs.c.next_try_at, jobs.c.id)
        .limit(_FOUND_AT_ONCE)
    )
    return [tuple(row) for row in await connection.execute(query)]


async def acquire(connection: AsyncConnection, job_id: str, holder: str, seconds: float) -> bool:
    """Take or renew the lease of a job; False while somebody else holds it."""
    now = database_now(connection)
    statement = (
        update(jobs)
        .where(jobs.c.id == job_id, or_(jobs.c.lease_holder == holder, jobs.c.lease_until < now))
        .values(lease_holder=holder, lease_until=now + seconds)
    )
    return (await connection.execute(statement)).rowcount == 1


async def release(connection: AsyncConnection, job_id: str, holder: str) -> None:
    """Give the lease back, so that another executor need not wait for it."""
    statement = update(jobs).where(jobs.c.id == job_id, jobs.c.lease_holder == holder)
    await connection.execute(statement.values(lease_holder=None, lease_until=0))


async def postpone(connection: AsyncConnection, job_id: str, seconds: float, waiting_for: str | None) -> None:
    """Let a job rest for a while, and say what it waits for."""
    statement = update(jobs).where(jobs.c.id == job_id, jobs.c.state.not_in(FINAL_JOB_STATES))
    await connection.execute(
        statement.values(
            next_try_at=database_now(connection) + seconds, tries=jobs.c.tries + 1, waiting_for=waiting_for
        )
    )


async def hurry(connection: AsyncConnection, job_id: str) -> None:
    """Let a job that rests be driven now: what it waits for may be there."""
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(next_try_at=0))
