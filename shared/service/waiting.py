"""Waiting for whichever comes first."""

import asyncio


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
