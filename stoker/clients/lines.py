r"""Lines of a stream of bytes. Only `\n` (or `\r\n`) ends one: JSON text may hold the other separators of Unicode."""

from collections.abc import AsyncIterable, AsyncIterator


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines without their ends, also empty ones; what follows the last end is a line if not empty."""
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *complete, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in complete:
                yield line.removesuffix(b"\r")
    if rest:
        yield bytes(rest)
