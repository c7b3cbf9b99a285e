"""Cursors: where the next page begins, in a form that nobody should take apart."""

import base64
import binascii
from typing import Annotated, Any, TypeVar

import msgspec
from litestar.params import QueryParameter

from stoker.contracts.pages import Page
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

T = TypeVar("T")
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="how many items at most")]
Cursor = Annotated[str | None, QueryParameter(max_length=1000, description="next_cursor of the page before")]


def encode_cursor(position: Any) -> str:
    """Return the cursor of a position (text, numbers, lists of them)."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def decode_cursor(cursor: str | None, kind: type[T]) -> T | None:
    """Return the position, or None without a cursor. Raises Invalid for what is not a cursor of ours."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        wrong = FieldError("query.cursor", "must be the next_cursor of an answer")
        raise Invalid("the cursor is not valid", [wrong]) from error
    return position


def page(items: list[T], position: Any) -> Page[T]:
    """Return a page whose successor begins after `position` (None: it is the last)."""
    return Page(items, None if position is None else encode_cursor(position))
