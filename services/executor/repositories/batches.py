"""Batches: which of a job there are, and moving them forward."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.states import FINAL_BATCH_STATES
from services.executor.repositories.tables import batches, jobs

_OF_JOB = ("kind", "placement", "profile_id", "resource_id", "folder", "snapshot")


async def batches_of(
    connection: AsyncConnection, job_id: str, states: Collection[str] | None = None
) -> list[Row[Any]]:
    """A job's batches in order, of all states or of the given ones."""
    query = select(batches).where(batches.c.job_id == job_id).order_by(batches.c.batch_index)
    if states is not None:
        query = query.where(batches.c.state.in_(states))
    return list((await connection.execute(query)).all())


async def find_batch(connection: AsyncConnection, batch_id: str) -> Row[Any] | None:
    """One batch's row, if there is such a batch."""
    return (await connection.execute(select(batches).where(batches.c.id == batch_id))).one_or_none()


async def move_batch(connection: AsyncConnection, batch_id: str, before: Collection[str], **values: Any) -> bool:
    """Change a batch if it is still in one of the states `before`; False when it has moved on."""
    statement = update(batches).where(batches.c.id == batch_id, batches.c.state.in_(before)).values(**values)
    return (await connection.execute(statement)).rowcount == 1


async def launched_batches(connection: AsyncConnection) -> list[Row[Any]]:
    """Every batch that was launched and has not ended, with what its job says of its place."""
    query = (
        select(batches, *(jobs.c[name] for name in _OF_JOB))
        .join(jobs, jobs.c.id == batches.c.job_id)
        .where(batches.c.state.not_in({*FINAL_BATCH_STATES, "planned"}), batches.c.native_id.is_not(None))
        .order_by(batches.c.id)
    )
    return list((await connection.execute(query)).all())


async def batch_at(connection: AsyncConnection, job_id: str, index: int) -> Row[Any] | None:
    """A job's batch by its index."""
    query = select(batches).where(batches.c.job_id == job_id, batches.c.batch_index == index)
    return (await connection.execute(query)).one_or_none()
