"""Units: storing what their attempts became, and only ever forward."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.records import EventRecord, ResultRecord
from services.executor.repositories.progress import Moves, encode
from services.executor.states import unit_may_become
from services.executor.tables import units
from shared.contracts.events import MAX_FAILED_UNITS_PER_EVENT
from shared.contracts.jobs import Reason

_UNFINISHED = ("waiting", "running")

_store_start = (
    update(units)
    .where(units.c.job_id == bindparam("b_job"), units.c.unit_index == bindparam("b_index"))
    .values(state="running", started_at=bindparam("b_at"), log_slot=bindparam("b_slot"), log_from=bindparam("b_from"))
)
_store_result = (
    update(units)
    .where(units.c.job_id == bindparam("b_job"), units.c.unit_index == bindparam("b_index"))
    .values(
        {
            name: bindparam(f"b_{name}")
            for name in (
                "state",
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


async def apply_records(
    connection: AsyncConnection,
    job_id: str,
    batch_index: int,
    starts: Sequence[EventRecord],
    results: Sequence[ResultRecord],
    moves: Moves,
) -> None:
    """Store the starts and results of one batch.

    Records of another attempt, of another batch or of a unit that has ended change nothing.
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
    finished = {r.unit for r in results if r.outcome != "interrupted"}
    started_rows = []
    for start in starts:
        unit = None if start.unit is None else now.get(start.unit)
        if start.unit is None or unit is None or start.attempt != unit.attempt or start.unit in finished:
            continue
        if unit_may_become(unit.state, "running"):
            moves.move(start.unit, unit.state, "running")
            unit.state = "running"
            started_rows.append(
                {
                    "b_job": job_id,
                    "b_index": start.unit,
                    "b_at": start.at,
                    "b_slot": start.slot,
                    "b_from": start.log_start,
                }
            )
    result_rows = []
    for result in results:
        unit = now.get(result.unit)
        if unit is None or result.attempt != unit.attempt or not unit_may_become(unit.state, "succeeded"):
            continue
        reason = None if result.reason is None else Reason(code=result.reason.code, text=result.reason.text)
        # An interrupted attempt ends with its batch, which knows why it was interrupted.
        state = unit.state if result.outcome == "interrupted" else result.outcome
        if state != unit.state:
            moves.move(result.unit, unit.state, state, reason)
            unit.state = state
        result_rows.append({"b_job": job_id, "b_index": result.unit, "b_state": state, **_values(result, reason)})
    if started_rows:
        await connection.execute(_store_start, started_rows)
    if result_rows:
        await connection.execute(_store_result, result_rows)


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
    moves: Moves,
) -> None:
    """Give every unit of a batch that has no outcome the one for those that had `started` or were still `waiting`."""
    of_batch = (units.c.job_id == job_id, units.c.batch_index == batch_index)
    unfinished = (*of_batch, units.c.state.in_(_UNFINISHED))
    # Only the first are told one by one, the rest is counted: there may be a million.
    counted = select(units.c.state, func.count()).where(*unfinished).group_by(units.c.state)
    left = {row[0]: row[1] for row in await connection.execute(counted)}
    first = select(units.c.unit_index, units.c.state).where(*unfinished).order_by(units.c.unit_index)
    for row in (await connection.execute(first.limit(MAX_FAILED_UNITS_PER_EVENT))).all():
        then, reason = started if row.state == "running" else waiting
        moves.move(row.unit_index, row.state, then, reason)
        left[row.state] -= 1
    for old, (then, reason) in (("running", started), ("waiting", waiting)):
        moves.move_more(left.get(old, 0), old, then)
        values: dict[str, Any] = {"state": then, "reason": encode(reason)}
        if old == "running":
            values["ended_at"] = at
        await connection.execute(update(units).where(*of_batch, units.c.state == old).values(**values))
