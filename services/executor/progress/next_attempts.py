"""Batches that follow an ended one: for units that it had not begun, and for those that are to be tried again.

Those that are tried again get more memory or time where they had too little.
"""

from collections import defaultdict

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.endings import CANCELLED_BETWEEN
from services.executor.model.unit_changes import UnitChanges
from services.executor.planning.growth import Growth, shape_of
from services.executor.repositories.attempts import cancel_waiting, ends_of_attempts, waiting_units
from services.executor.repositories.batches import (
    NewBatch,
    add_batch,
    last_batch_index,
    most_at_once,
    take_over,
    unbegun_units,
)
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import submit_of

MOST_FRUITLESS = 3
"""So many batches may end one after the other without beginning any of their units."""


async def launch_again(connection: AsyncConnection, batch: BatchRow) -> None:
    """Give the units that an ended batch has not begun a batch of their own: no other attempt, there was none.

    Not where that has come to nothing too often.
    """
    count, has_begun = await unbegun_units(connection, batch)
    fruitless = 0 if has_begun else batch.fruitless + 1
    if not count or fruitless >= MOST_FRUITLESS:
        return
    new = NewBatch(
        job_id=batch.job_id,
        batch_index=1 + await last_batch_index(connection, batch.job_id),
        parallel=min(batch.parallel, count),
        memory_growth=batch.memory_growth,
        time_growth=batch.time_growth,
        phase=batch.phase,
        fruitless=fruitless,
    )
    await take_over(connection, batch, new, count)


async def plan_next(connection: AsyncConnection, job: JobRow, changes: UnitChanges) -> None:
    """Give the units of a locked job that wait for another attempt their batches, or an end if it is cancelled."""
    waiting = await waiting_units(connection, job.id)
    if not waiting:
        return
    if job.cancel_requested_at is not None:
        changes.move_many(len(waiting), "waiting", "cancelled")
        await cancel_waiting(connection, job.id, CANCELLED_BETWEEN)
        return
    growths = await _growths(connection, job.id)
    compound = len(submit_of(job).phases) > 1
    groups: defaultdict[Growth, list[int]] = defaultdict(list)
    for index in waiting:
        phase = 1 if compound and index > 0 else 0
        groups[msgspec.structs.replace(growths.get(index, Growth()), phase=phase)].append(index)
    last = await last_batch_index(connection, job.id)
    most = await most_at_once(connection, job.id) if job.placement == "local" else 1
    for growth, indices in groups.items():
        shape = shape_of(job, growth, len(indices), most)
        for first in range(0, len(indices), shape.tasks_per_job):
            last += 1
            some = indices[first : first + shape.tasks_per_job]
            new = NewBatch(
                job_id=job.id,
                batch_index=last,
                parallel=min(shape.parallel, len(some)),
                memory_growth=growth.memory,
                time_growth=growth.time,
                phase=growth.phase,
            )
            await add_batch(connection, new, some)


async def _growths(connection: AsyncConnection, job_id: str) -> dict[int, Growth]:
    found: dict[int, Growth] = {}
    for index, reason in await ends_of_attempts(connection, job_id):
        before = found.get(index, Growth())
        if reason is not None and reason.code == "out_of_memory":
            found[index] = Growth(before.memory + 1, before.time)
        elif reason is not None and reason.code == "time_limit":
            found[index] = Growth(before.memory, before.time + 1)
    return found
