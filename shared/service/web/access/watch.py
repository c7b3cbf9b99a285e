"""Answers without an end, while the key that asked for them is valid: a revoked one ends them."""

import asyncio
from collections.abc import Callable

from shared.service.web.access.callers import KeyVerifier
from stoker.errors import Unavailable


class KeyWatch:
    """Looks again at the key of one request, from time to time; `end` is called when it is no longer valid.

    `end` says whether it could: an answer that has not begun is left to begin. A timer for each request, and a task
    only for those that are still there when it has passed: most are not.
    """

    __slots__ = ("_end", "_key", "_task", "_timer", "_verifier")

    def __init__(self, verifier: KeyVerifier, key: str, end: Callable[[], bool]) -> None:
        self._verifier = verifier
        self._key = key
        self._end = end
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(verifier.look_again_seconds, self._begin)

    def stop(self) -> None:
        """The answer is complete."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while True:
            if not await self._is_valid() and self._end():
                return
            await asyncio.sleep(self._verifier.look_again_seconds)

    async def _is_valid(self) -> bool:
        try:
            return await self._verifier.still_valid(self._key)
        except Unavailable:
            # Nobody could tell for longer than a known key is believed.
            return False
