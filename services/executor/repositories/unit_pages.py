"""Reading units and the counts of batches."""

from collections.abc import AsyncIterator, Collection
from typing import Any

from sqlalchemy import Select, bindparam, desc, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.json_text import decode_reason
from services.executor.repositories.rows import UnitArguments, UnitLogRow, UnitOutcome
from services.executor.repositories.shown import RESULT, UNIT, show_result, show_unit
from services.executor.repositories.tables import units
from shared.service.database.transactions import Database
from stoker.contracts.jobs import Counts, Reason, Unit, UnitResult, UnitState

_RESULTS_A_PAGE = 2000
_REASONS_COUNTED = 1000
# Made once: putting a statement together takes as long as running it.
_page: Select[*tuple[Any, ...]] = (
    select(*UNIT)
    .where(units.c.job_id == bindparam("job_id"), units.c.unit_index > bindparam("after"))
    .order_by(units.c.unit_index)
    .limit(bindparam("count"))
)
_page_of_state = _page.where(units.c.state == bindparam("of_state"))


async def list_units(
    connection: AsyncConnection, job_id: str, *, state: str | None, after: int, limit: int
) -> list[Unit]:
    """Units of a job behind index `after`, of one state or of all, in order."""
    values = {"job_id": job_id, "after": after, "count": limit}
    if state is None:
        return [show_unit(row) for row in await connection.execute(_page, values)]
    return [show_unit(row) for row in await connection.execute(_page_of_state, values | {"of_state": state})]


async def find_unit(connection: AsyncConnection, job_id: str, index: int) -> Unit | None:
    """One unit."""
    query: Select[*tuple[Any, ...]] = select(*UNIT).where(units.c.job_id == job_id, units.c.unit_index == index)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else show_unit(row)


async def find_unit_log(connection: AsyncConnection, job_id: str, index: int) -> UnitLogRow | None:
    """The place of a unit's log."""
    query: Select[*tuple[Any, ...]] = select(*UnitLogRow.columns(units)).where(
        units.c.job_id == job_id, units.c.unit_index == index
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else UnitLogRow(*row)


async def unit_arguments(
    connection: AsyncConnection, job_id: str, batch_index: int, *, after: int, limit: int
) -> list[UnitArguments]:
    """Units of a batch behind index `after`, in order, as their runner is told of them."""
    query: Select[*tuple[Any, ...]] = (
        select(*UnitArguments.columns(units))
        .where(units.c.job_id == job_id, units.c.batch_index == batch_index, units.c.unit_index > after)
        .order_by(units.c.unit_index)
        .limit(limit)
    )
    return [UnitArguments(*row) for row in await connection.execute(query)]


async def unit_outcome(connection: AsyncConnection, job_id: str, index: int) -> UnitOutcome:
    """What became of a unit that is there."""
    query: Select[*tuple[Any, ...]] = select(*UnitOutcome.columns(units)).where(
        units.c.job_id == job_id, units.c.unit_index == index
    )
    return UnitOutcome(*(await connection.execute(query)).one())


async def next_log_start(connection: AsyncConnection, job_id: str, unit: UnitLogRow) -> int | None:
    """Where the next unit's part begins in the log file that holds this unit's; None: no other began after it."""
    query = select(func.min(units.c.log_from)).where(
        units.c.job_id == job_id,
        units.c.batch_index == unit.batch_index,
        units.c.log_slot == unit.log_slot,
        units.c.unit_index != unit.unit_index,
        # Two units may begin at one place: the first of them wrote nothing.
        units.c.log_from >= unit.log_from,
        units.c.started_at > unit.started_at,
    )
    start: int | None = (await connection.execute(query)).scalar_one()
    return start


async def counts_by_batch(
    connection: AsyncConnection, job_id: str, batch_indices: Collection[int]
) -> dict[int, Counts]:
    """Units by state, for each of these batches of a job."""
    query = (
        select(units.c.batch_index, units.c.state, func.count())
        .where(units.c.job_id == job_id, units.c.batch_index.in_(batch_indices))
        .group_by(units.c.batch_index, units.c.state)
    )
    found: dict[int, dict[str, int]] = {}
    for batch_index, state, count in await connection.execute(query):
        found.setdefault(batch_index, {})[state] = count
    return {index: Counts(**counts) for index, counts in found.items()}


async def all_results(database: Database, job_id: str) -> AsyncIterator[list[UnitResult]]:
    """Outcomes of all units in order, page by page: never all of them in memory."""
    last = -1
    while True:
        query: Select[*tuple[Any, ...]] = select(*RESULT).where(units.c.job_id == job_id, units.c.unit_index > last)
        async with database.read() as connection:
            rows = (await connection.execute(query.order_by(units.c.unit_index).limit(_RESULTS_A_PAGE))).all()
        if not rows:
            return
        yield [show_result(row) for row in rows]
        last = rows[-1][0]


async def reasons_of(
    connection: AsyncConnection, job_id: str, states: Collection[UnitState]
) -> list[tuple[Reason, int]]:
    """Why the units in these states are so, and how many for each reason, the most frequent first.

    Grouped by the database: a million units may have failed for one reason.
    """
    query = (
        select(units.c.reason, func.count().label("units"))
        .where(units.c.job_id == job_id, units.c.state.in_(states), units.c.reason.is_not(None))
        .group_by(units.c.reason)
        .order_by(desc("units"))
        .limit(_REASONS_COUNTED)
    )
    found = [(decode_reason(text), count) for text, count in await connection.execute(query)]
    return [(reason, count) for reason, count in found if reason is not None]
