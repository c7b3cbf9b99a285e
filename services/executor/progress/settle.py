"""The one way in which a job's row moves: under its lock, with its event, from what its batches and units say."""

import time
from itertools import chain, repeat
from typing import Any

import msgspec
from sqlalchemy import Row, desc, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.json_text import decode_reason, encode
from services.executor.model.states import FINAL_JOB_STATES, job_reason, job_state
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.activity_end import conclude
from services.executor.repositories.events import append_event
from services.executor.repositories.jobs import counts_of
from services.executor.repositories.tables import batches, jobs, units
from stoker.contracts.jobs import Counts, Reason

_REASONS_COUNTED = 1000


async def settle(connection: AsyncConnection, job: Row[Any], changes: UnitChanges) -> str:
    """Bring a locked job's row up to date with its batches and `changes`, with an event if anything changed.

    Returns the job's state. `job` is the row as `lock_job` returned it in this transaction.
    """
    now = time.time()
    before = counts_of(job)
    counts = changes.applied_to(before)
    states = (await connection.execute(select(batches.c.state).where(batches.c.job_id == job.id))).scalars().all()
    state = job_state(job.state, states, counts, staged=job.staged)
    if state == job.state and counts == before:
        return state
    values: dict[str, Any] = {"state": state, "updated_at": now, **msgspec.structs.asdict(counts)}
    if state in ("running", "collecting") and job.started_at is None:
        values["started_at"] = now
    reason = None
    if state in FINAL_JOB_STATES:
        reason = await _final_reason(connection, job, state, counts)
        values |= {"ended_at": now, "reason": None if reason is None else encode(reason), "waiting_for": None}
    elif state != job.state:
        values |= {"waiting_for": None, "tries": 0}
    await connection.execute(update(jobs).where(jobs.c.id == job.id).values(**values))
    if job.kind == "activity":
        if state in FINAL_JOB_STATES:
            await conclude(connection, job, state, now)
        return state
    await append_event(
        connection,
        job,
        type_="job_state" if state != job.state else "job_progress",
        state=state,
        counts=counts,
        at=now,
        reason=reason,
        failed_units=changes.failed_units,
        failed_units_left_out=changes.failed_units_left_out,
    )
    return state


async def _final_reason(connection: AsyncConnection, job: Row[Any], state: Any, counts: Counts) -> Reason | None:
    # Who asked for a cancellation is known without them.
    told = ("failed", "lost") if state != "cancelled" else () if job.cancel_requested_by else ("cancelled",)
    failed = (units.c.job_id == job.id, units.c.state.in_(told), units.c.reason.is_not(None))
    # Grouped by the database: a million units may have failed for one reason.
    query = select(units.c.reason, func.count().label("units")).where(*failed).group_by(units.c.reason)
    groups = (await connection.execute(query.order_by(desc("units")).limit(_REASONS_COUNTED))).all()
    reasons = ((decode_reason(text), count) for text, count in groups)
    texts = chain.from_iterable(repeat(reason.text, count) for reason, count in reasons if reason is not None)
    return job_reason(state, counts, texts, job.cancel_requested_by)
