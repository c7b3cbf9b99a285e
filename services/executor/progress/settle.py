"""The one way in which a job's row moves: under its lock, with its event, from what its batches and units say."""

import time
from itertools import chain, repeat
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.json_text import encode
from services.executor.model.states import FINAL_JOB_STATES, job_reason, job_state
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.activity_end import conclude
from services.executor.repositories.batches import batch_states
from services.executor.repositories.events import append_event
from services.executor.repositories.jobs import counts_of, update_job
from services.executor.repositories.rows import JobRow
from services.executor.repositories.unit_pages import reasons_of
from stoker.contracts.jobs import Counts, JobState, Reason, UnitState


async def settle(connection: AsyncConnection, job: JobRow, changes: UnitChanges) -> JobState:
    """Bring a locked job's row up to date with its batches and `changes`, with an event if anything changed.

    Returns the job's state. `job` is the row as `lock_job` returned it in this transaction.
    """
    now = time.time()
    before = counts_of(job)
    counts = changes.applied_to(before)
    states = await batch_states(connection, job.id)
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
    await update_job(connection, job.id, **values)
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


async def _final_reason(connection: AsyncConnection, job: JobRow, state: JobState, counts: Counts) -> Reason | None:
    # Who asked for a cancellation is known without them.
    told: tuple[UnitState, ...] = ("failed", "lost")
    if state == "cancelled":
        told = () if job.cancel_requested_by else ("cancelled",)
    reasons = await reasons_of(connection, job.id, told)
    texts = chain.from_iterable(repeat(reason.text, count) for reason, count in reasons)
    return job_reason(state, counts, texts, job.cancel_requested_by)
