"""How often and after which pauses a call is repeated: few times, a little longer each time, with jitter."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stoker import backoff
from stoker.errors import Unavailable

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


def pause_seconds(repetition: int, wanted_seconds: float | None = None) -> float:
    """Seconds before the given repetition (1, 2, …); a server's own wish is honoured up to the longest pause."""
    grown = backoff.pause_seconds(
        repetition, first_seconds=_FIRST_PAUSE_SECONDS, longest_seconds=_LONGEST_PAUSE_SECONDS
    )
    return min(max(grown, wanted_seconds or 0.0), _LONGEST_PAUSE_SECONDS)


async def repeated(call: Callable[[], Awaitable[T]], *, attempts: int, repeatable: bool) -> T:
    """Await `call()`, at most `attempts` times while it raises Unavailable and repeating is safe.

    Repeating what was never sent always is.
    """
    for repetition in range(1, attempts):
        try:
            return await call()
        except Unavailable as error:
            if error.sent and not repeatable:
                raise
            await asyncio.sleep(pause_seconds(repetition, error.retry_after_seconds))
    return await call()
