"""The one way in which a job's row moves: under its lock, with its event, from what its batches and units say."""

import time
from itertools import chain, repeat
from typing import Any

import msgspec
from sqlalchemy import Row, desc, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.states import FINAL_JOB_STATES, job_reason, job_state
from services.executor.progress.activity_end import conclude
from services.executor.repositories.events import append_event
from services.executor.repositories.tables import batches, jobs, units
from stoker.contracts.events import MAX_FAILED_UNITS_PER_EVENT, FailedUnit
from stoker.contracts.jobs import Counts, Reason
from stoker.errors import NotFound

_REASON = msgspec.json.Decoder(Reason)
_REASONS_COUNTED = 1000


def decode_reason(text: str | None) -> Reason | None:
    """The reason that a column holds."""
    return None if text is None else _REASON.decode(text)


def encode(value: Any) -> str:
    """JSON text for a column."""
    return msgspec.json.encode(value).decode()


def counts_of(row: Row[Any]) -> Counts:
    """The counts that a job's row holds."""
    return Counts(**{name: getattr(row, name) for name in Counts.__struct_fields__})


async def lock_job(connection: AsyncConnection, job_id: str) -> Row[Any]:
    """The job's row, locked until the transaction ends. Raises NotFound."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id).with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}")
    return row


class Moves:
    """Units that changed state in one transaction: what that does to the counts, and which of them failed."""

    def __init__(self) -> None:
        self._delta = dict.fromkeys(Counts.__struct_fields__, 0)
        self.failed_units: list[FailedUnit] = []
        self.failed_units_left_out = 0

    def move(self, index: int, now: str, then: str, reason: Reason | None = None) -> None:
        """Count one unit's change of state."""
        self._delta[now] -= 1
        self._delta[then] += 1
        if then in ("failed", "lost"):
            if len(self.failed_units) < MAX_FAILED_UNITS_PER_EVENT:
                self.failed_units.append(FailedUnit(index=index, state=then, reason=reason))
            else:
                self.failed_units_left_out += 1

    def move_more(self, count: int, now: str, then: str) -> None:
        """Count changes of state of units that are not told one by one."""
        self._delta[now] -= count
        self._delta[then] += count
        if then in ("failed", "lost"):
            self.failed_units_left_out += count

    def add(self, count: int) -> None:
        """Count units that were not there before; they wait."""
        self._delta["waiting"] += count

    def applied_to(self, counts: Counts) -> Counts:
        """The counts after these changes."""
        return Counts(**{name: getattr(counts, name) + delta for name, delta in self._delta.items()})


async def settle(connection: AsyncConnection, job: Row[Any], moves: Moves) -> str:
    """Bring a locked job's row up to date with its batches and `moves`, with an event if anything changed.

    Returns the job's state. `job` is the row as `lock_job` returned it in this transaction.
    """
    now = time.time()
    before = counts_of(job)
    counts = moves.applied_to(before)
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
        failed_units=moves.failed_units,
        failed_units_left_out=moves.failed_units_left_out,
    )
    return state


async def _final_reason(connection: AsyncConnection, job: Row[Any], state: Any, counts: Counts) -> Reason | None:
    # Who asked for a cancellation is known without them.
    told = ("failed", "lost") if state != "cancelled" else () if job.cancel_requested_by else ("cancelled",)
    failed = (units.c.job_id == job.id, units.c.state.in_(told), units.c.reason.is_not(None))
    # Grouped by the database: a million units may have failed for one reason.
    query = select(units.c.reason, func.count().label("units")).where(*failed).group_by(units.c.reason)
    groups = (await connection.execute(query.order_by(desc("units")).limit(_REASONS_COUNTED))).all()
    texts = chain.from_iterable(repeat(_REASON.decode(text).text, count) for text, count in groups)
    return job_reason(state, counts, texts, job.cancel_requested_by)
