"""The one thing in which kinds of resource differ: how bytes get to an agent and back."""

from typing import Protocol


class Pipe(Protocol):
    """Bytes both ways to one agent process.

    `read` returns some bytes, b"" at the end. `write` returns when the bytes are on their way (and waits while the
    other side is slow). Both raise `stoker.errors.Unavailable` when the pipe is broken. `close` ends the agent, may
    be repeated, and never raises.
    `diagnosis` is what the other side said on its standard error, for messages. The end of its output may be seen
    before its last words: of one that has ended they are awaited, for a bounded time.
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

    async def diagnosis(self) -> str:
        """Return the last words of the other side, "" when it said none."""
        ...


async def with_last_words(message: str, pipe: Pipe) -> str:
    """Return `message`, followed by the diagnosis where there is one."""
    words = (await pipe.diagnosis()).strip()
    if words.startswith(message):
        return words
    return f"{message}: {words}" if words else message
