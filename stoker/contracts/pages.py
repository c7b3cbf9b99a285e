"""Cursor pagination."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Up to `limit` items, and the cursor of the next page (None on the last one)."""

    items: list[T]
    next_cursor: str | None = None
