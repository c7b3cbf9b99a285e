"""What is kept of jobs, for how long, and what it takes up: the queries of housekeeping."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.states import FINAL_JOB_STATES
from services.executor.repositories.rows import JobSource
from services.executor.repositories.tables import environments, jobs

_IS_WORK = jobs.c.kind == "work"
_source: Select[*tuple[Any, ...]] = select(*JobSource.columns(jobs))
# The latest activity of an environment is part of it, and stays as long as the environment.
_is_nobodys_latest = ~exists().where(environments.c.activity_id == jobs.c.id)


async def ended_before(
    connection: AsyncConnection, moment: float, *, without: Collection[str], limit: int
) -> list[JobSource]:
    """Jobs that ended before this moment (epoch seconds), the oldest first, as `find_job_source` gives them."""
    query = (
        _source.where(
            jobs.c.ended_at < moment,
            jobs.c.state.in_(FINAL_JOB_STATES),
            jobs.c.id.not_in(list(without)),
            _is_nobodys_latest,
        )
        .order_by(jobs.c.ended_at)
        .limit(limit)
    )
    return [JobSource(*row) for row in await connection.execute(query)]


async def first_end(connection: AsyncConnection) -> float | None:
    """When the first of the ended jobs ended (epoch seconds)."""
    moment: float | None = (
        await connection.execute(select(func.min(jobs.c.ended_at)).where(_is_nobodys_latest))
    ).scalar_one()
    return moment


async def unmeasured(connection: AsyncConnection, *, without: Collection[str], limit: int) -> list[JobSource]:
    """Ended jobs whose disk use is not known, the newest first."""
    query = (
        _source.where(jobs.c.ended_at.is_not(None), jobs.c.disk_bytes.is_(None), jobs.c.id.not_in(list(without)))
        .order_by(jobs.c.ended_at.desc())
        .limit(limit)
    )
    return [JobSource(*row) for row in await connection.execute(query)]


async def unended(connection: AsyncConnection, owner: str | None, limit: int) -> list[JobSource]:
    """Jobs that have not ended, of one owner or of all, the newest first."""
    query = _source.where(jobs.c.ended_at.is_(None), _IS_WORK)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    rows = await connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))
    return [JobSource(*row) for row in rows]


async def store_disk_bytes(connection: AsyncConnection, job_id: str, disk_bytes: int) -> None:
    """Note what an ended job's folder takes up."""
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(disk_bytes=disk_bytes))


async def usage_by_resource(connection: AsyncConnection, owner: str | None) -> list[tuple[str, int, int]]:
    """(resource id, jobs, their known disk use in bytes), of one owner or of all."""
    query = select(jobs.c.resource_id, func.count(), func.coalesce(func.sum(jobs.c.disk_bytes), 0)).where(_IS_WORK)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    rows = await connection.execute(query.group_by(jobs.c.resource_id).order_by(jobs.c.resource_id))
    return [(resource_id, count, int(total)) for resource_id, count, total in rows]


async def newest_time(connection: AsyncConnection) -> float | None:
    """When something last happened that the rows tell of: a job was accepted, or ended (epoch seconds)."""
    accepted = select(jobs.c.created_at).order_by(jobs.c.id.desc()).limit(1)
    ended = select(func.max(jobs.c.ended_at))
    times = [(await connection.execute(query)).scalar_one_or_none() for query in (accepted, ended)]
    return max((one for one in times if one is not None), default=None)
