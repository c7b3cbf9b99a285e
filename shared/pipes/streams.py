"""Streams that come from an agent: a file, or a folder's files one after another."""

from collections.abc import AsyncIterator

import msgspec

from shared.pipes.answers import FetchEnd


class ReadStream:
    """Chunks of one file, at most 64 KiB each. `size` is its length when it was opened, `offset` where chunks start."""

    size: int
    offset: int

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise NotImplementedError


class FetchedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a fetch. `chunks` must be read to its end (or left unread) before the next file is asked for."""

    name: str
    size: int
    mode: int
    modified_at: float
    chunks: AsyncIterator[bytes]


class FetchStream:
    """The files of a folder in the order of their names; after the last one `end` says what was left out."""

    end: FetchEnd | None = None

    def __aiter__(self) -> AsyncIterator[FetchedFile]:
        raise NotImplementedError
