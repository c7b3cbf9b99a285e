"""Bytes that go from a thread to the event loop, and back. Each is bounded: who is faster waits for the other."""

import asyncio
import contextlib
import threading
import time

from shared.pipes.errors import PipeLost

LIMIT_BYTES = 1024**2


class Inflow:
    """A thread puts, the loop takes. `heard_at` is the monotonic time at which something came last."""

    def __init__(self) -> None:
        self.heard_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._told = False
        self._there = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended

    def put(self, data: bytes) -> None:
        """Waits while the loop is behind; after `end` data is dropped."""
        self.heard_at = time.monotonic()
        with self._changed:
            while self._size > LIMIT_BYTES and not self._ended:
                self._changed.wait()
            if self._ended:
                return
            self._pieces.append(data)
            self._size += len(data)
            self._tell()

    def end(self) -> None:
        """Nothing more comes (from any thread)."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._tell()

    async def take(self) -> bytes:
        """Return all that is there, b"" at the end."""
        while True:
            with self._changed:
                if self._pieces or self._ended:
                    data = b"".join(self._pieces)
                    self._pieces.clear()
                    self._size = 0
                    self._changed.notify_all()
                    return data
                self._told = False
                self._there.clear()
            await self._there.wait()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._there.set)


class Outflow:
    """The loop puts, a thread takes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self._size = 0
        self._why_over: str | None = None
        self._room = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing more is taken."""
        return self._why_over is not None

    async def put(self, data: bytes) -> None:
        """Waits while much is under way. PipeLost after `end`."""
        while True:
            with self._changed:
                if self._why_over is not None:
                    raise PipeLost(self._why_over)
                if self._size < LIMIT_BYTES:
                    self._pieces.append(data)
                    self._size += len(data)
                    self._changed.notify_all()
                    return
                self._room.clear()
            await self._room.wait()

    def end(self, why: str) -> None:
        """Take no more; what was put before may still be taken."""
        with self._changed:
            self._why_over = self._why_over or why
            self._changed.notify_all()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._room.set)

    def take(self) -> bytes:
        """Wait in a thread for what was put, b"" at the end."""
        with self._changed:
            while not self._pieces and self._why_over is None:
                self._changed.wait()
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._room.set)
        return data
