"""Pages in the order of a text column that is unique (ids sort by creation)."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Column, Row, Select
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


async def fetch_page(
    connection: AsyncConnection,
    query: Select[Any],
    order: Column[str],
    *,
    after: str | None,
    limit: int,
    make: Callable[[Row[Any]], T],
) -> tuple[list[T], str | None]:
    """Return up to `limit` items after `after`, and the last one's key if there are more."""
    if after is not None:
        query = query.where(order > after)
    rows = (await connection.execute(query.order_by(order).limit(limit + 1))).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return [make(row) for row in rows], (rows[-1]._mapping[order] if more else None)  # noqa: SLF001 - documented
