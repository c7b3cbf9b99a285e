"""Attempts that are followed by another one: they are kept, and the unit's row goes on with the next."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.json_text import decode_reason, encode
from services.executor.model.moments import moment
from services.executor.repositories.tables import NO_BATCH, attempts, units
from stoker.contracts.jobs import Attempt, Reason
from stoker.contracts.needs import Retries

_INDICES_A_STATEMENT = 1000
_KEPT = tuple(column.name for column in attempts.c)
_ANEW: dict[str, Any] = {"state": "waiting", "batch_index": NO_BATCH} | dict.fromkeys(
    (
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
)
_REQUEUED = Reason(code="requeued", text="SLURM put the job back into the queue while this attempt was under way")


class Outcome(msgspec.Struct, frozen=True):
    """How attempts ended: state, reason, and when (epoch seconds)."""

    state: str
    reason: Reason
    ended_at: float


def may_follow(retries: Retries, reason: Reason | None, attempt: int) -> bool:
    """Whether another attempt follows the one that ended for this reason."""
    return reason is not None and attempt <= retries.count and reason.code in retries.on


async def begin_next(connection: AsyncConnection, job_id: str, indices: Sequence[int]) -> None:
    """Keep the ended attempts of these units as their rows tell them, and let the units wait for the next."""
    for some in _parts(indices):
        await _begin_next(connection, [units.c.job_id == job_id, units.c.unit_index.in_(some)], {})


async def begin_next_of_batch(
    connection: AsyncConnection, job_id: str, batch_index: int, state: str, outcome: Outcome, retries: Retries
) -> int:
    """Do the same with all units of a batch that are in this state and may be tried again; returns how many."""
    if not may_follow(retries, outcome.reason, 0):
        return 0
    chosen = [
        units.c.job_id == job_id,
        units.c.batch_index == batch_index,
        units.c.state == state,
        units.c.attempt <= retries.count,
    ]
    count: int = (await connection.execute(select(func.count()).select_from(units).where(*chosen))).scalar_one()
    if count:
        told = {"state": outcome.state, "reason": encode(outcome.reason)}
        await _begin_next(connection, chosen, told | ({"ended_at": outcome.ended_at} if state == "running" else {}))
    return count


async def keep_requeued(connection: AsyncConnection, job_id: str, indices: Sequence[int]) -> None:
    """Keep the attempts of units that their runner, started again by SLURM, tries anew."""
    told = {"state": "lost", "reason": encode(_REQUEUED)}
    for some in _parts(list(dict.fromkeys(indices))):
        await _keep(connection, [units.c.job_id == job_id, units.c.unit_index.in_(some)], told)


async def attempts_of(connection: AsyncConnection, job_id: str, unit_index: int) -> list[Attempt]:
    """The kept attempts of one unit, in order."""
    query: Select[*tuple[Any, ...]] = (
        select(*attempts.c)
        .where(attempts.c.job_id == job_id, attempts.c.unit_index == unit_index)
        .order_by(attempts.c.attempt)
    )
    return [_attempt(row) for row in await connection.execute(query)]


async def waiting_units(connection: AsyncConnection, job_id: str) -> list[int]:
    """Indices of the units that wait for a batch, ascending."""
    query = select(units.c.unit_index).where(units.c.job_id == job_id, units.c.batch_index == NO_BATCH)
    return list((await connection.execute(query.order_by(units.c.unit_index))).scalars())


async def ends_of_attempts(connection: AsyncConnection, job_id: str) -> list[tuple[int, Reason | None]]:
    """Of the units that wait for a batch: their indices, and why each of their attempts ended."""
    query = (
        select(attempts.c.unit_index, attempts.c.reason)
        .join(units, (units.c.job_id == attempts.c.job_id) & (units.c.unit_index == attempts.c.unit_index))
        .where(attempts.c.job_id == job_id, units.c.batch_index == NO_BATCH)
    )
    return [(index, decode_reason(reason)) for index, reason in await connection.execute(query)]


async def cancel_waiting(connection: AsyncConnection, job_id: str, reason: Reason) -> None:
    """End the units that wait for a batch."""
    await connection.execute(
        update(units)
        .where(units.c.job_id == job_id, units.c.batch_index == NO_BATCH)
        .values(state="cancelled", reason=encode(reason))
    )


def _parts(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(indices), _INDICES_A_STATEMENT):
        yield indices[first : first + _INDICES_A_STATEMENT]


async def _begin_next(
    connection: AsyncConnection, chosen: Sequence[ColumnElement[bool]], told: dict[str, Any]
) -> None:
    await _keep(connection, chosen, told)
    await connection.execute(update(units).where(*chosen).values(attempt=units.c.attempt + 1, **_ANEW))


async def _keep(connection: AsyncConnection, chosen: Sequence[ColumnElement[bool]], told: dict[str, Any]) -> None:
    columns = [literal(told[name]) if name in told else units.c[name] for name in _KEPT]
    await connection.execute(insert(attempts).from_select(list(_KEPT), select(*columns).where(*chosen)))


def _attempt(row: Row[Any]) -> Attempt:
    """An attempt that another one followed."""
    return Attempt(
        attempt=row.attempt,
        batch_index=row.batch_index,
        state=row.state,
        exit_code=row.exit_code,
        signal=row.signal,
        reason=decode_reason(row.reason),
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
        peak_memory_bytes=row.peak_memory_bytes,
        cpu_seconds=row.cpu_seconds,
    )
