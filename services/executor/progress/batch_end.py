"""The end of a batch in the rows: its state and reason, its units' outcomes, and the batches that follow it."""

import time
from collections.abc import Collection

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.endings import Ending
from services.executor.model.json_text import encode
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.next_attempts import MOST_FRUITLESS, launch_again, plan_next
from services.executor.repositories import leases
from services.executor.repositories.batches import add_up, move_batch
from services.executor.repositories.jobs import append_units, update_job
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import retries_of, submit_of
from services.executor.repositories.tables import NO_BATCH
from services.executor.repositories.unit_pages import unit_outcome
from services.executor.repositories.units import end_unfinished
from services.executor.tasks.arguments import compute_units
from services.executor.tasks.outputs import read_init_output
from stoker.contracts.jobs import Reason


async def end_batch(
    connection: AsyncConnection,
    job: JobRow,
    batch: BatchRow,
    how: Ending,
    changes: UnitChanges,
    *,
    before: Collection[str],
) -> None:
    """End a batch of a locked job if it is still in one of the states `before`. The caller settles the job."""
    now = time.time()
    reason = None if how.batch_reason is None else encode(how.batch_reason)
    values = {"state": how.batch_state, "ended_at": now, "reason": reason, "note": None, "estimated_start": None}
    if not await move_batch(connection, batch.id, before, **values):
        return
    await add_up(connection, batch)
    if how.again and job.cancel_requested_at is None:
        await launch_again(connection, batch)
    await end_unfinished(
        connection,
        job.id,
        batch.batch_index,
        started=how.started,
        waiting=_told_often(how.waiting) if how.again else how.waiting,
        at=now,
        changes=changes,
        retries=retries_of(job),
    )
    await _begin_compute(connection, job, batch, changes)
    await plan_next(connection, job, changes)
    if job.cancel_requested_at is None:
        # There is room now where there was none, and there may be more to launch.
        await leases.hurry(connection, job.id)


def _told_often(outcome: tuple[str, Reason]) -> tuple[str, Reason]:
    """The outcome of units that were launched and launched again, and never begun."""
    state, reason = outcome
    text = f"launched {MOST_FRUITLESS} times and never begun; the last time: {reason.text}"
    return state, msgspec.structs.replace(reason, text=text)


async def _begin_compute(connection: AsyncConnection, job: JobRow, batch: BatchRow, changes: UnitChanges) -> None:
    """Add the compute units of a locked job whose init has ended well; they wait for their batches.

    `batch` is the one that has just ended. What the init answered was judged when it was stored.
    """
    if job.task is None or batch.phase or job.unit_count > 1:
        return
    submit = submit_of(job)
    if len(submit.phases) < 2:  # noqa: PLR2004 - two phases
        return
    init = await unit_outcome(connection, job.id, 0)
    if init.state != "succeeded":
        return
    elements = read_init_output(None if init.output is None else msgspec.json.decode(init.output))
    arguments = [encode(one) for one in compute_units(elements, submit.arguments_parallel)]
    if not arguments:
        return
    await append_units(connection, job.id, 1, arguments, [NO_BATCH] * len(arguments))
    await update_job(connection, job.id, unit_count=1 + len(arguments))
    changes.add(len(arguments))
