"""Reading units and the counts of batches."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.repositories.tables import units
from shared.service.database.transactions import Database
from stoker.contracts.jobs import Counts

SHOWN = tuple(
    units.c[name]
    for name in (
        "unit_index",
        "arguments",
        "attempt",
        "batch_index",
        "state",
        "exit_code",
        "signal",
        "reason",
        "output",
        "started_at",
        "ended_at",
        "peak_memory_bytes",
        "cpu_seconds",
        "log_from",
        "log_to",
    )
)
_RESULTS_A_PAGE = 2000
# Made once: putting a statement together takes as long as running it.
_page: Select[*tuple[Any, ...]] = (
    select(*SHOWN)
    .where(units.c.job_id == bindparam("job_id"), units.c.unit_index > bindparam("after"))
    .order_by(units.c.unit_index)
    .limit(bindparam("count"))
)
_page_of_state = _page.where(units.c.state == bindparam("of_state"))


async def list_units(
    connection: AsyncConnection, job_id: str, *, state: str | None, after: int, limit: int
) -> list[Row[Any]]:
    """Units of a job behind index `after`, of one state or of all, in order."""
    values = {"job_id": job_id, "after": after, "count": limit}
    if state is None:
        return list((await connection.execute(_page, values)).all())
    return list((await connection.execute(_page_of_state, values | {"of_state": state})).all())


async def find_unit(connection: AsyncConnection, job_id: str, index: int) -> Row[Any] | None:
    """One unit, with the place of its log."""
    query: Select[*tuple[Any, ...]] = select(*SHOWN, units.c.log_slot).where(
        units.c.job_id == job_id, units.c.unit_index == index
    )
    return (await connection.execute(query)).one_or_none()


async def next_log_start(connection: AsyncConnection, job_id: str, unit: Row[Any]) -> int | None:
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


async def counts_by_batch(connection: AsyncConnection, job_id: str) -> dict[int, Counts]:
    """Units by state, for each batch of a job."""
    query = (
        select(units.c.batch_index, units.c.state, func.count())
        .where(units.c.job_id == job_id)
        .group_by(units.c.batch_index, units.c.state)
    )
    found: dict[int, dict[str, int]] = {}
    for batch_index, state, count in await connection.execute(query):
        found.setdefault(batch_index, {})[state] = count
    return {index: Counts(**counts) for index, counts in found.items()}


async def all_results(database: Database, job_id: str) -> AsyncIterator[list[Row[Any]]]:
    """Outcomes of all units in order, page by page: never all of them in memory."""
    columns = (units.c.unit_index, units.c.state, units.c.output, units.c.reason)
    last = -1
    while True:
        query: Select[*tuple[Any, ...]] = select(*columns).where(units.c.job_id == job_id, units.c.unit_index > last)
        async with database.read() as connection:
            rows = list((await connection.execute(query.order_by(units.c.unit_index).limit(_RESULTS_A_PAGE))).all())
        if not rows:
            return
        yield rows
        last = rows[-1].unit_index
