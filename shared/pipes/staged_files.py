"""What is put into a new folder on a resource: names and contents, sent as one tar stream."""

import tarfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from pathlib import Path

import msgspec

from stoker.errors import Invalid

CHUNK_BYTES = 64 * 1024


class StagedFile(msgspec.Struct, frozen=True):
    """One file to stage. `name` is relative to the new folder ("batches/00000/batch.json").

    `content` is bytes, a local file's path, or an iterable of bytes whose total is `size` (required for iterables).
    """

    name: str
    content: bytes | Path | Iterable[bytes]
    size: int | None = None
    mode: int = 0o644


async def tar_stream(files: Iterable[StagedFile] | AsyncIterable[StagedFile]) -> AsyncIterator[bytes]:
    """Yield the tar, in pieces of at most CHUNK_BYTES plus a block."""
    if isinstance(files, AsyncIterable):
        async for file in files:
            for piece in _tar_entry(file):
                yield piece
    else:
        for file in files:
            for piece in _tar_entry(file):
                yield piece
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _tar_entry(file: StagedFile) -> Iterable[bytes]:
    size = _size(file)
    head = tarfile.TarInfo(file.name)
    head.size, head.mode = size, file.mode
    yield head.tobuf(format=tarfile.GNU_FORMAT)
    sent = 0
    for piece in _pieces(file):
        sent += len(piece)
        if sent > size:
            break
        yield piece
    if sent != size:
        raise Invalid(f"{file.name}: {size} bytes were announced, the content has another length")
    yield b"\0" * (-size % tarfile.BLOCKSIZE)


def _size(file: StagedFile) -> int:
    if isinstance(file.content, bytes):
        return len(file.content)
    if isinstance(file.content, Path):
        return file.content.stat().st_size
    if file.size is None:
        raise Invalid(f"{file.name}: the size of streamed content has to be given")
    return file.size


def _pieces(file: StagedFile) -> Iterable[bytes]:
    if isinstance(file.content, bytes):
        for start in range(0, len(file.content), CHUNK_BYTES):
            yield file.content[start : start + CHUNK_BYTES]
    elif isinstance(file.content, Path):
        with file.content.open("rb") as source:
            while piece := source.read(CHUNK_BYTES):
                yield piece
    else:
        for block in file.content:
            for start in range(0, len(block), CHUNK_BYTES):
                yield block[start : start + CHUNK_BYTES]
