"""Waiting for whichever comes first, and running things side by side until the first of them ends."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

_CANCEL_AGAIN_SECONDS = 1.0


async def first_of(seconds: float, *events: asyncio.Event) -> bool:
    """Wait until one of the events is set; False when none was within `seconds`."""
    if any(event.is_set() for event in events):
        return True
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, at most so long; say whether it is, and clear it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


async def first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Run all; when one ends, cancel the others and wait for them. Raises what the ended one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(tasks)
    for task in done:
        task.result()


async def cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel these tasks and wait until they have ended."""
    # Libraries below now and then take a cancellation for the end of a time of their own, and the task goes on.
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
