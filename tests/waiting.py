"""Waiting for something to become true, with a deadline, instead of sleeping and hoping."""

import asyncio
from collections.abc import Awaitable, Callable

WAIT_SECONDS = 120.0


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str = "the condition", *, seconds: float = WAIT_SECONDS
) -> None:
    """Return when `condition()` holds; it is looked at every 10 ms. Fails with `what` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = condition()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about within {seconds:g} s") from None
