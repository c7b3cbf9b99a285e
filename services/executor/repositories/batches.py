"""Batches: which of a job there are, and moving them forward."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.endings import Ending
from services.executor.model.json_text import encode
from services.executor.model.states import BATCH_STATES
from services.executor.repositories.rows import BatchRow, LaunchedBatch
from services.executor.repositories.tables import NO_BATCH, attempts, batches, jobs, units
from shared.service.ids import new_id
from stoker.contracts.jobs import BatchState

_batch: Select[*tuple[Any, ...]] = select(*BatchRow.columns(batches))

_NAMED_AT_ONCE = 1000


class NewBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch to store beside those that its job has."""

    job_id: str
    batch_index: int
    parallel: int
    memory_growth: int
    time_growth: int
    phase: int
    fruitless: int = 0


async def batches_of(
    connection: AsyncConnection, job_id: str, states: Collection[str] | None = None
) -> list[BatchRow]:
    """A job's batches in order, of all states or of the given ones."""
    query = _batch.where(batches.c.job_id == job_id).order_by(batches.c.batch_index)
    if states is not None:
        query = query.where(batches.c.state.in_(states))
    return [BatchRow(*row) for row in await connection.execute(query)]


async def batches_from(connection: AsyncConnection, job_id: str, first: int, limit: int) -> list[BatchRow]:
    """A job's batches from this index on, in order."""
    query = _batch.where(batches.c.job_id == job_id, batches.c.batch_index >= first)
    rows = await connection.execute(query.order_by(batches.c.batch_index).limit(limit))
    return [BatchRow(*row) for row in rows]


async def find_batch(connection: AsyncConnection, batch_id: str) -> BatchRow | None:
    """One batch's row, if there is such a batch."""
    row = (await connection.execute(_batch.where(batches.c.id == batch_id))).one_or_none()
    return None if row is None else BatchRow(*row)


async def move_batch(connection: AsyncConnection, batch_id: str, before: Collection[str], **values: Any) -> bool:
    """Change a batch if it is still in one of the states `before`; False when it has moved on."""
    statement = update(batches).where(batches.c.id == batch_id, batches.c.state.in_(before)).values(**values)
    return (await connection.execute(statement)).rowcount == 1


async def launched_batches(connection: AsyncConnection) -> list[LaunchedBatch]:
    """Every batch that was launched and has not ended, with what its job says of its place."""
    query: Select[*tuple[Any, ...]] = (
        select(*LaunchedBatch.columns(batches, jobs))
        .join(jobs, jobs.c.id == batches.c.job_id)
        .where(batches.c.ended_at.is_(None), batches.c.state != "planned", batches.c.native_id.is_not(None))
        .order_by(batches.c.id)
    )
    return [LaunchedBatch(*row) for row in await connection.execute(query)]


async def batch_at(connection: AsyncConnection, job_id: str, index: int) -> BatchRow | None:
    """A job's batch by its index."""
    query = _batch.where(batches.c.job_id == job_id, batches.c.batch_index == index)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else BatchRow(*row)


async def batch_states(connection: AsyncConnection, job_id: str) -> set[BatchState]:
    """In which states a job's batches are: a look into the index for each state, however many batches there are."""
    looks = [
        exists().where(batches.c.job_id == job_id, batches.c.state == state).label(state) for state in BATCH_STATES
    ]
    found = (await connection.execute(select(*looks))).one()
    return {state for state, there in zip(BATCH_STATES, found, strict=True) if there}


async def add_batch(connection: AsyncConnection, batch: NewBatch, indices: Sequence[int]) -> None:
    """Store a batch of units (their indices, ascending) that wait for one."""
    values = {**msgspec.structs.asdict(batch), "id": new_id(), "state": "planned", "unit_count": len(indices)}
    await connection.execute(insert(batches).values(**values))
    waiting = [units.c.job_id == batch.job_id, units.c.batch_index == NO_BATCH]
    for some in _stretches(indices):
        await connection.execute(update(units).where(*waiting, some).values(batch_index=batch.batch_index))


async def unbegun_units(connection: AsyncConnection, batch: BatchRow) -> tuple[int, bool]:
    """How many of a batch's units no start has begun, and whether one has begun any."""
    query = select(func.count()).select_from(units).where(*_waiting(batch))
    count: int = (await connection.execute(query)).scalar_one()
    begun = (units.c.batch_index == batch.batch_index) & (units.c.state != "waiting")
    followed = attempts.c.batch_index == batch.batch_index
    for table, chosen in ((units, begun), (attempts, followed)):
        found = select(table.c.unit_index).where(table.c.job_id == batch.job_id, chosen).limit(1)
        if (await connection.execute(found)).first() is not None:
            return count, True
    return count, False


async def take_over(connection: AsyncConnection, batch: BatchRow, new: NewBatch, count: int) -> None:
    """Store a batch of the units that another one has not begun; there are `count`."""
    values = {**msgspec.structs.asdict(new), "id": new_id(), "state": "planned", "unit_count": count}
    await connection.execute(insert(batches).values(**values))
    await connection.execute(update(units).where(*_waiting(batch)).values(batch_index=new.batch_index))


def _waiting(batch: BatchRow) -> tuple[ColumnElement[bool], ...]:
    of_batch = (units.c.job_id == batch.job_id, units.c.batch_index == batch.batch_index)
    return (*of_batch, units.c.state == "waiting")


def _stretches(indices: Sequence[int]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that choose units together: all of them where none is left out between, else some by name."""
    if indices[-1] - indices[0] == len(indices) - 1:
        yield units.c.unit_index.between(indices[0], indices[-1])
        return
    for first in range(0, len(indices), _NAMED_AT_ONCE):
        yield units.c.unit_index.in_(indices[first : first + _NAMED_AT_ONCE])


async def last_batch_index(connection: AsyncConnection, job_id: str) -> int:
    """The highest index of a job's batches."""
    query = select(func.max(batches.c.batch_index)).where(batches.c.job_id == job_id)
    index: int = (await connection.execute(query)).scalar_one()
    return index


async def most_at_once(connection: AsyncConnection, job_id: str) -> int:
    """How many units at most one of a job's batches runs at once."""
    query = select(func.max(batches.c.parallel)).where(batches.c.job_id == job_id)
    parallel: int = (await connection.execute(query)).scalar_one()
    return parallel


async def end_planned_batches(connection: AsyncConnection, job_id: str, ending: Ending, at: float) -> int:
    """End all batches of a locked job that nobody has begun to launch, and their units; returns how many units.

    In two statements, whatever their number. Nothing of them has run, so there is nothing to add up, and no attempt
    to be followed by another.
    """
    planned = select(batches.c.batch_index).where(batches.c.job_id == job_id, batches.c.state == "planned")
    outcome, reason = ending.waiting
    of_planned = update(units).where(
        units.c.job_id == job_id, units.c.state == "waiting", units.c.batch_index.in_(planned)
    )
    ended = await connection.execute(of_planned.values(state=outcome, reason=encode(reason)))
    values = {
        "state": ending.batch_state,
        "ended_at": at,
        "reason": None if ending.batch_reason is None else encode(ending.batch_reason),
        "note": None,
        "estimated_start": None,
    }
    of_job = update(batches).where(batches.c.job_id == job_id, batches.c.state == "planned")
    await connection.execute(of_job.values(**values))
    return ended.rowcount


async def add_up(connection: AsyncConnection, batch: BatchRow) -> None:
    """Note what a batch's units used: those that it still has, and those that are tried again."""
    cpu_seconds, peak_memory_bytes = [], []
    for table in (units, attempts):
        query = select(func.sum(table.c.cpu_seconds), func.max(table.c.peak_memory_bytes)).where(
            table.c.job_id == batch.job_id, table.c.batch_index == batch.batch_index
        )
        cpu, peak = (await connection.execute(query)).one()
        cpu_seconds += [cpu] if cpu is not None else []
        peak_memory_bytes += [peak] if peak is not None else []
    values = {
        "cpu_seconds": sum(cpu_seconds) if cpu_seconds else None,
        "peak_memory_bytes": max(peak_memory_bytes, default=None),
    }
    await connection.execute(update(batches).where(batches.c.id == batch.id).values(**values))
