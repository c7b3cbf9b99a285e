"""Batches for the units that are to be tried again, with more memory or time where they had too little."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.endings import CANCELLED_BETWEEN
from services.executor.model.json_text import decode_reason, encode
from services.executor.model.unit_changes import UnitChanges
from services.executor.planning.growth import Growth, shape_of
from services.executor.repositories.stored_submit import submit_of
from services.executor.repositories.tables import NO_BATCH, attempts, batches, units
from shared.service.ids import new_id


async def plan_next(connection: AsyncConnection, job: Row[Any], changes: UnitChanges) -> None:
    """Give the units of a locked job that wait for another attempt their batches, or an end if it is cancelled."""
    query = select(units.c.unit_index).where(units.c.job_id == job.id, units.c.batch_index == NO_BATCH)
    waiting = list((await connection.execute(query.order_by(units.c.unit_index))).scalars())
    if not waiting:
        return
    if job.cancel_requested_at is not None:
        await _cancel(connection, job.id, len(waiting), changes)
        return
    growths = await _growths(connection, job.id)
    compound = len(submit_of(job).phases) > 1
    groups: defaultdict[Growth, list[int]] = defaultdict(list)
    for index in waiting:
        phase = 1 if compound and index > 0 else 0
        groups[msgspec.structs.replace(growths.get(index, Growth()), phase=phase)].append(index)
    highest = select(func.max(batches.c.batch_index), func.max(batches.c.parallel)).where(batches.c.job_id == job.id)
    last, most = (await connection.execute(highest)).one()
    for growth, indices in groups.items():
        shape = shape_of(job, growth, len(indices), most)
        for first in range(0, len(indices), shape.tasks_per_job):
            last += 1
            some = indices[first : first + shape.tasks_per_job]
            await _add(connection, job.id, last, some, growth, min(shape.parallel, len(some)))


async def _growths(connection: AsyncConnection, job_id: str) -> dict[int, Growth]:
    query: Select[*tuple[Any, ...]] = (
        select(attempts.c.unit_index, attempts.c.reason)
        .join(units, (units.c.job_id == attempts.c.job_id) & (units.c.unit_index == attempts.c.unit_index))
        .where(attempts.c.job_id == job_id, units.c.batch_index == NO_BATCH)
    )
    found: dict[int, Growth] = {}
    for row in await connection.execute(query):
        reason = decode_reason(row.reason)
        before = found.get(row.unit_index, Growth())
        if reason is not None and reason.code == "out_of_memory":
            found[row.unit_index] = Growth(before.memory + 1, before.time)
        elif reason is not None and reason.code == "time_limit":
            found[row.unit_index] = Growth(before.memory, before.time + 1)
    return found


async def _add(
    connection: AsyncConnection, job_id: str, batch_index: int, indices: Sequence[int], growth: Growth, parallel: int
) -> None:
    row = {
        "id": new_id(),
        "job_id": job_id,
        "batch_index": batch_index,
        "state": "planned",
        "unit_count": len(indices),
        "parallel": parallel,
        "memory_growth": growth.memory,
        "time_growth": growth.time,
        "phase": growth.phase,
    }
    await connection.execute(insert(batches).values(**row))
    for first, final in _runs(indices):
        await connection.execute(
            update(units)
            .where(
                units.c.job_id == job_id,
                units.c.unit_index.between(first, final),
                units.c.batch_index == NO_BATCH,
            )
            .values(batch_index=batch_index)
        )


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of consecutive numbers: a statement for each, not for each unit."""
    start = before = indices[0]
    for index in indices[1:]:
        if index != before + 1:
            yield start, before
            start = index
        before = index
    yield start, before


async def _cancel(connection: AsyncConnection, job_id: str, count: int, changes: UnitChanges) -> None:
    changes.move_many(count, "waiting", "cancelled")
    await connection.execute(
        update(units)
        .where(units.c.job_id == job_id, units.c.batch_index == NO_BATCH)
        .values(state="cancelled", reason=encode(CANCELLED_BETWEEN))
    )
