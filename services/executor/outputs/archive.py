"""A job's folder as a zip, made while it is sent: nothing is unpacked and nothing is kept.

Names come from the other side and are only ever written into the zip, below a folder named after the job; those that
could lead an unpacking program out of it are left out. What is left out is listed in `left-out.txt`. Sizes are
limited by the zip64 format alone (16 EiB).
"""

import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
from anyio import to_thread

from services.executor.outputs.results import result_lines
from services.executor.repositories.rows import JobSource
from services.executor.resources.agents import JobAgents, folder_of
from shared.pipes import AgentConnection
from shared.service.database.transactions import Database
from stoker.contracts.jobs import Job
from stoker.errors import NotFound

_EXCLUDED = ("runner.py",)
# Entries that no file of the folder may pass itself off as.
_OUR_OWN = ("results.jsonl", "job.json", "left-out.txt")
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_SMALL_CHUNK_BYTES = 256 * 1024


class _Sink:
    """What zipfile writes to: unseekable, and emptied after every write."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """There is nothing to close."""

    def take(self) -> bytes:
        pieces, self._pieces, self.size = self._pieces, [], 0
        return b"".join(pieces)


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    chunks: AsyncIterator[bytes]
    modified_at: float | None = None
    mode: int = 0o644


class Archive:
    """Makes the zip of one job."""

    def __init__(self, database: Database, agents: JobAgents) -> None:
        self._database = database
        self._agents = agents

    async def open(self, job: Job, source: JobSource) -> AsyncGenerator[bytes, None]:
        """The zip's bytes. Raises Unavailable before the first of them if the resource is away."""
        agent = await self._agents.of(source)
        return self._stream(agent, job, source)

    async def _stream(self, agent: AgentConnection, job: Job, source: JobSource) -> AsyncGenerator[bytes, None]:
        writer = _ZipWriter(job.id)
        async with aclosing(self._entries(agent, job, source)) as entries:
            async for entry in entries:
                async with aclosing(writer.add(entry)) as pieces:
                    async for piece in pieces:
                        yield piece
        yield await writer.close()

    async def _entries(self, agent: AgentConnection, job: Job, source: JobSource) -> AsyncGenerator[_Entry, None]:
        left_out: list[str] = []
        names = set(_OUR_OWN)
        try:
            async with agent.fetch(folder_of(source), exclude=_EXCLUDED) as files:
                async for file in files:
                    if not _is_safe(file.name) or file.name in names:
                        left_out.append(f"{file.name!r}: its name is taken or not safe")
                        continue
                    names.add(file.name)
                    yield _Entry(
                        name=file.name, chunks=file.chunks, modified_at=file.modified_at, mode=file.mode & 0o777
                    )
                if files.end is not None:
                    left_out += [f"{item.path!r}: {item.why}" for item in files.end.left_out]
        except NotFound:
            left_out.append("the job's folder: it is not there")
        yield _Entry(name="results.jsonl", chunks=result_lines(self._database, job.id))
        yield _Entry(name="job.json", chunks=_once(msgspec.json.encode(job)))
        if left_out:
            yield _Entry(name="left-out.txt", chunks=_once("\n".join([*left_out, ""]).encode()))


class _ZipWriter:
    """Entries one after another. Compressing larger pieces happens in a thread, so that nothing else waits for it."""

    def __init__(self, folder: str) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        self._folder = folder

    async def add(self, new: _Entry) -> AsyncGenerator[bytes, None]:
        """One file; yields what the zip has grown by."""
        # Names that are not UTF-8 come with surrogates for their odd bytes: those become question marks.
        entry = zipfile.ZipInfo(
            f"{self._folder}/{new.name}".encode("utf-8", "replace").decode(), _moment(new.modified_at)
        )
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = (0o100000 | new.mode) << 16
        target = self._zip.open(entry, "w", force_zip64=True)
        try:
            async for chunk in new.chunks:
                await _run(len(chunk), target.write, chunk)
                if self._sink.size >= _SMALL_CHUNK_BYTES:
                    yield self._sink.take()
        finally:
            target.close()
        yield self._sink.take()

    async def close(self) -> bytes:
        """The directory at the end of the zip."""
        await to_thread.run_sync(self._zip.close)
        return self._sink.take()


def _is_safe(name: str) -> bool:
    """Whether the name stays below its folder wherever it is unpacked."""
    parts = name.replace("\\", "/").split("/")
    return not ({"", ".", ".."} & set(parts) or "\0" in name)


async def _run(size: int, work: Callable[[bytes], Any], chunk: bytes) -> None:
    # A thread costs more than compressing a few kilobytes does.
    if size < 16 * 1024:
        work(chunk)
    else:
        await to_thread.run_sync(work, chunk)


async def _once(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def _moment(seconds: float | None) -> tuple[int, int, int, int, int, int]:
    """A zip's time stamp: local time has no meaning here, so UTC, and nothing before 1980."""
    try:
        found = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _EARLIEST
    moment = (found.year, found.month, found.day, found.hour, found.minute, found.second)
    return moment if _EARLIEST <= moment < (2108, 1, 1, 0, 0, 0) else _EARLIEST
