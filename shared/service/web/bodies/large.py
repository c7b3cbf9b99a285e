"""Large bodies: worked on in a thread, one at a time, and counted before anything is made of them.

Other requests go on meanwhile, and the bodies of many callers take the memory of one.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

LARGE_BYTES = 256 * 1024
"""From this size on a body is worked on off the event loop."""
MAX_VALUES = 6_000_000
MAX_CONTAINERS = 2_100_000
"""Objects and lists: a million units with an object in each."""

_A_LOOK = 1024 * 1024
_OTHERS = bytes(sorted(set(range(256)) - set(b'",{[')))
_worker = ThreadPoolExecutor(1, thread_name_prefix="large-body")

P = ParamSpec("P")
T = TypeVar("T")


async def off_the_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the work on a body of this size returns; of a large one, without holding up the event loop."""
    if size <= LARGE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_worker, partial(work, *args, **kwargs))


def count_values(body: bytes) -> int:
    """How many values a body of JSON holds at most. Raises Invalid for more than are taken."""
    try:
        return _counted(_slices(body))
    except _TooManyError:
        # Perhaps only because of commas and brackets in texts.
        try:
            return _counted(_outside_texts(body))
        except _TooManyError as error:
            raise Invalid("the body is too much at once", [FieldError("$", str(error))]) from None


def _slices(body: bytes) -> Iterator[bytes]:
    # Counting keeps other threads waiting for as long as one call takes.
    return (body[start : start + _A_LOOK] for start in range(0, len(body), _A_LOOK))


def _outside_texts(body: bytes) -> Iterator[bytes]:
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    inside = 0
    for piece in _slices(unescaped):
        parts = piece.translate(None, _OTHERS).split(b'"')
        yield b"".join(parts[inside::2])
        inside ^= (len(parts) - 1) % 2


class _TooManyError(Exception):
    """The body holds more than is taken."""


def _counted(pieces: Iterable[bytes]) -> int:
    values = containers = 0
    for piece in pieces:
        opened = piece.count(b"{") + piece.count(b"[")
        containers += opened
        values += opened + piece.count(b",")
        if containers > MAX_CONTAINERS:
            raise _TooManyError(f"must have at most {MAX_CONTAINERS:,} objects and lists")
        if values > MAX_VALUES:
            raise _TooManyError(f"must have at most {MAX_VALUES:,} values")
    return values
