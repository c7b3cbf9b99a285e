"""Units: storing what their attempts became, and only ever forward."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.json_text import encode
from services.executor.model.records import EventRecord, ReasonRecord, ResultRecord
from services.executor.model.states import unit_may_become
from services.executor.model.unit_changes import UnitChanges
from services.executor.repositories import attempts
from services.executor.repositories.tables import units
from stoker.contracts.events import MAX_FAILED_UNITS_PER_EVENT
from stoker.contracts.jobs import Reason
from stoker.contracts.needs import Retries

Verify = Callable[[int, bytes], Reason | None]
_UNFINISHED = ("waiting", "running")

_store_start = (
    update(units)
    .where(units.c.job_id == bindparam("b_job"), units.c.unit_index == bindparam("b_index"))
    .values(
        state="running",
        attempt=bindparam("b_attempt"),
        started_at=bindparam("b_at"),
        log_slot=bindparam("b_slot"),
        log_from=bindparam("b_from"),
    )
)
_store_result = (
    update(units)
    .where(units.c.job_id == bindparam("b_job"), units.c.unit_index == bindparam("b_index"))
    .values(
        {
            name: bindparam(f"b_{name}")
            for name in (
                "state",
                "attempt",
                "exit_code",
                "signal",
                "reason",
                "output",
                "started_at",
                "ended_at",
                "peak_memory_bytes",
                "cpu_seconds",
                "log_slot",
                "log_from",
                "log_to",
            )
        }
    )
)


class _UnitNow(msgspec.Struct):
    state: str
    attempt: int


class _Applied:
    """What the records of one stretch do to the units of one batch: collected first, stored at once."""

    def __init__(
        self, now: dict[int, _UnitNow], retries: Retries, changes: UnitChanges, verify: Verify | None
    ) -> None:
        self._verify = verify
        self._now = now
        self._retries = retries
        self._changes = changes
        self.requeued: list[int] = []
        # The last one of each unit is what its row will show.
        self.starts: dict[int, dict[str, Any]] = {}
        self.results: dict[int, dict[str, Any]] = {}
        self.retried: list[int] = []

    def start(self, start: EventRecord) -> None:
        """Take a start; of another attempt, of another batch or of a unit that has ended it changes nothing."""
        unit = self._unit_of(start.unit, start.attempt)
        if start.unit is None or unit is None or not unit_may_become(unit.state, "running"):
            return
        self._changes.move(start.unit, unit.state, "running")
        unit.state = "running"
        self.starts[start.unit] = {
            "b_index": start.unit,
            "b_attempt": unit.attempt,
            "b_at": start.at,
            "b_slot": start.slot,
            "b_from": start.log_start,
        }

    def result(self, result: ResultRecord) -> None:
        """Take a result, as `start` does."""
        unit = self._unit_of(result.unit, result.attempt)
        if unit is None or not unit_may_become(unit.state, "succeeded"):
            return
        reason = None if result.reason is None else _told(result.reason)
        # An interrupted attempt ends with its batch, which knows why it was interrupted.
        state = unit.state if result.outcome == "interrupted" else result.outcome
        if state == "succeeded" and self._verify and (fault := self._verify(result.unit, bytes(result.output))):
            state, reason = "failed", fault
        self.results[result.unit] = {
            "b_index": result.unit,
            "b_state": state,
            "b_attempt": unit.attempt,
            **_values(result, reason),
        }
        if state == unit.state:
            return
        if state == "failed" and attempts.may_follow(self._retries, reason, unit.attempt):
            self.retried.append(result.unit)
            self._changes.move(result.unit, unit.state, "waiting")
            del self._now[result.unit]
        else:
            self._changes.move(result.unit, unit.state, state, reason)
            unit.state = state

    def _unit_of(self, index: int | None, attempt: int | None) -> _UnitNow | None:
        """Return the unit that a record is about. A runner that SLURM started again counts attempts on by itself."""
        unit = None if index is None else self._now.get(index)
        if index is None or unit is None or attempt is None or attempt < unit.attempt:
            return None
        if attempt > unit.attempt:
            if not unit_may_become(unit.state, "succeeded"):
                return None
            self._changes.move(index, unit.state, "waiting")
            self.requeued.append(index)
            unit.state, unit.attempt = "waiting", attempt
        return unit


async def apply_records(
    connection: AsyncConnection,
    job_id: str,
    batch_index: int,
    starts: Sequence[EventRecord],
    results: Sequence[ResultRecord],
    changes: UnitChanges,
    retries: Retries,
    verify: Verify | None = None,
) -> None:
    """Store the starts and results of one batch; units that are to be tried again wait for a batch of their own.

    `verify` says why what a unit that succeeded wrote into its out file (JSON, or nothing) is a failure, if it is.
    """
    touched = [r.unit for r in results] + [s.unit for s in starts if s.unit is not None]
    if not touched:
        return
    query = select(units.c.unit_index, units.c.state, units.c.attempt).where(
        units.c.job_id == job_id,
        units.c.batch_index == batch_index,
        units.c.unit_index.between(min(touched), max(touched)),
    )
    now = {row.unit_index: _UnitNow(row.state, row.attempt) for row in await connection.execute(query)}
    applied = _Applied(now, retries, changes, verify)
    finished = {(r.unit, r.attempt) for r in results if r.outcome != "interrupted"}
    for start in starts:
        if (start.unit, start.attempt) not in finished:
            applied.start(start)
    for result in results:
        applied.result(result)
    await attempts.keep_requeued(connection, job_id, applied.requeued)
    for statement, rows in ((_store_start, applied.starts), (_store_result, applied.results)):
        if rows:
            await connection.execute(statement, [{"b_job": job_id, **row} for row in rows.values()])
    await attempts.begin_next(connection, job_id, applied.retried)


def _told(reason: ReasonRecord) -> Reason:
    return Reason(code=reason.code, text=reason.text, log_tail=reason.log_tail)


def _values(result: ResultRecord, reason: Reason | None) -> dict[str, Any]:
    output = bytes(result.output)
    log_from, log_to = result.log or (None, None)
    return {
        "b_exit_code": result.exit_code,
        "b_signal": result.signal,
        "b_reason": None if reason is None else encode(reason),
        "b_output": output.decode() if output else None,
        "b_started_at": result.start,
        "b_ended_at": result.end,
        "b_peak_memory_bytes": result.peak_memory_bytes,
        "b_cpu_seconds": result.cpu_seconds,
        "b_log_slot": result.slot,
        "b_log_from": log_from,
        "b_log_to": log_to,
    }


async def end_unfinished(
    connection: AsyncConnection,
    job_id: str,
    batch_index: int,
    *,
    started: tuple[str, Reason],
    waiting: tuple[str, Reason],
    at: float,
    changes: UnitChanges,
    retries: Retries,
) -> None:
    """Give every unit of a batch that has no outcome the one for those that had `started` or were still `waiting`.

    Those that are to be tried again wait for a batch of their own.
    """
    of_batch = (units.c.job_id == job_id, units.c.batch_index == batch_index)
    for old, (then, reason) in (("running", started), ("waiting", waiting)):
        retried = await attempts.begin_next_of_batch(
            connection, job_id, batch_index, old, attempts.Outcome(then, reason, at), retries
        )
        changes.move_many(retried, old, "waiting")
    unfinished = (*of_batch, units.c.state.in_(_UNFINISHED))
    # Only the first are told one by one, the rest is counted: there may be a million.
    counted = select(units.c.state, func.count()).where(*unfinished).group_by(units.c.state)
    left = {row[0]: row[1] for row in await connection.execute(counted)}
    first = select(units.c.unit_index, units.c.state).where(*unfinished).order_by(units.c.unit_index)
    for row in (await connection.execute(first.limit(MAX_FAILED_UNITS_PER_EVENT))).all():
        then, reason = started if row.state == "running" else waiting
        changes.move(row.unit_index, row.state, then, reason)
        left[row.state] -= 1
    for old, (then, reason) in (("running", started), ("waiting", waiting)):
        changes.move_many(left.get(old, 0), old, then)
        values: dict[str, Any] = {"state": then, "reason": encode(reason)}
        if old == "running":
            values["ended_at"] = at
        await connection.execute(update(units).where(*of_batch, units.c.state == old).values(**values))
