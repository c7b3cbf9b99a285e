"""Streams that come from an agent: a file, or a folder's files one after another."""

import tarfile
from collections.abc import AsyncIterator

import msgspec

from shared.pipes.errors import PipeLost
from shared.pipes.protocol.answers import FetchEnd

_LONGEST_NAME_BYTES = 64 * 1024


class ReadStream:
    """Chunks of one file, at most 64 KiB each.

    `size` is its length when it was opened, `offset` where chunks start.
    """

    def __init__(self, size: int, offset: int, chunks: AsyncIterator[bytes]) -> None:
        self.size = size
        self.offset = offset
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


class FetchedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a fetch. `chunks` is read to its end, or left unread, before the next file is asked for."""

    name: str
    size: int
    mode: int
    modified_at: float
    chunks: AsyncIterator[bytes]


class FetchStream:
    """The files of a folder in the order of their names; after the last one `end` says what was left out.

    Names are relative and free of `..`: anything else is a breach of the protocol.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._left = 0
        self._padding = 0
        self.end: FetchEnd | None = None

    async def __aiter__(self) -> AsyncIterator[FetchedFile]:
        while (head := await self._next_head()) is not None:
            self._left, self._padding = head.size, -head.size % tarfile.BLOCKSIZE
            yield FetchedFile(
                name=_checked(head.name),
                size=head.size,
                mode=head.mode & 0o777,
                modified_at=float(head.mtime),
                chunks=self._content(),
            )
            async for _ in self._content():
                pass
            await self._take(self._padding)
        async for _ in self._chunks:
            pass

    async def _content(self) -> AsyncIterator[bytes]:
        while self._left:
            if not self._buffer:
                self._buffer = await self._more()
            piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
            self._left -= len(piece)
            yield piece

    async def _next_head(self) -> tarfile.TarInfo | None:
        long_name = None
        while True:
            block = await self._take(tarfile.BLOCKSIZE)
            if not block.strip(b"\0"):
                return None
            try:
                head = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise PipeLost(f"the agent sent an archive that makes no sense: {error}") from error
            if head.size < 0:
                raise PipeLost("the agent sent an archive with a file of negative size")
            if head.type == tarfile.GNUTYPE_LONGNAME and head.size <= _LONGEST_NAME_BYTES:
                data = await self._take(head.size + -head.size % tarfile.BLOCKSIZE)
                long_name = data[: head.size].rstrip(b"\0").decode("utf-8", "surrogateescape")
                continue
            if not head.isreg():
                raise PipeLost(f"the agent sent something other than a file: {head.name!r}")
            if long_name is not None:
                head.name = long_name
            return head

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += await self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def _more(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise PipeLost("the agent's archive ended in the middle") from None


def _checked(name: str) -> str:
    if not name or any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise PipeLost(f"the agent sent a file with the name {name!r}")
    return name
