"""Blocking work beside the event loop, each in a thread of its own.

The loop's default pool is for what always comes back. A host that hangs would hold its few threads, and with them
everybody else who needs one.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Return what `work` returns. Cancelled, the thread goes on to its end and its outcome is forgotten."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if not future.done():
            future.set_result(result)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def run() -> None:
        try:
            told = partial(succeed, work())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            told = partial(fail, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(told)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
