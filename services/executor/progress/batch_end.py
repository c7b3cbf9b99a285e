"""The end of a batch in the rows: its state and reason, its units' outcomes, and the batches that follow it."""

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.kinds.verdicts import Ending
from services.executor.progress.compute_phase import begin_compute
from services.executor.progress.next_attempts import plan_next
from services.executor.repositories.batches import move_batch
from services.executor.repositories.progress import Moves, encode
from services.executor.repositories.stored_submit import retries_of
from services.executor.repositories.tables import attempts, batches, units
from services.executor.repositories.units import end_unfinished


async def end_batch(
    connection: AsyncConnection,
    job: Row[Any],
    batch: Row[Any],
    how: Ending,
    moves: Moves,
    *,
    before: Collection[str],
) -> None:
    """End a batch of a locked job if it is still in one of the states `before`. The caller settles the job."""
    now = time.time()
    reason = None if how.batch_reason is None else encode(how.batch_reason)
    values = {"state": how.batch_state, "ended_at": now, "reason": reason, "note": None, "estimated_start": None}
    if not await move_batch(connection, batch.id, before, **values):
        return
    await _add_up(connection, batch)
    await end_unfinished(
        connection,
        job.id,
        batch.batch_index,
        started=how.started,
        waiting=how.waiting,
        at=now,
        moves=moves,
        retries=retries_of(job),
    )
    await begin_compute(connection, job, batch, moves)
    await plan_next(connection, job, moves)


async def _add_up(connection: AsyncConnection, batch: Row[Any]) -> None:
    """Note what its units used: those that it still has, and those that are tried again."""
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
