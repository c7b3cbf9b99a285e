"""The one thing in which kinds of resource differ: how bytes get to an agent and back."""

from typing import Protocol


class Pipe(Protocol):
    """Bytes both ways to one agent process.

    `read` returns some bytes, b"" at the end. `write` returns when the bytes are on their way (and waits while the
    other side
    is slow). Both raise `stoker.errors.Unavailable` when the pipe is broken. `close` ends the agent, may be
    repeated, and never raises. `diagnosis` is what the other side said on its standard error, for messages.
    """

    async def read(self) -> bytes:
        """Return some bytes, b"" at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    async def close(self) -> None:
        """End the agent and free what the pipe holds."""
        ...

    def diagnosis(self) -> str:
        """Last words of the other side, "" when it said none."""
        ...
