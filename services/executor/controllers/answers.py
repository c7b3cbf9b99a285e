"""Answers that are encoded at once: what a handler returns as a type goes out as bytes."""

from typing import Any, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.openapi import ResponseSpec

from stoker.contracts.keys import Caller

T = TypeVar("T")

CallerRequest = Request[Caller, Any, State]
"""A request behind the gate: `request.user` is the caller."""

_encode = msgspec.json.Encoder().encode


def answer(value: T, *, location: str | None = None) -> Response[T]:
    """The value as JSON; `location` is where it can be read again."""
    headers = None if location is None else {"Location": location}
    return cast("Response[T]", Response(_encode(value), media_type="application/json", headers=headers))


def streams(media_type: str, description: str) -> dict[int, ResponseSpec]:
    """`responses` of a handler that streams bytes."""
    return {
        200: ResponseSpec(
            data_container=bytes, generate_examples=False, media_type=media_type, description=description
        )
    }
