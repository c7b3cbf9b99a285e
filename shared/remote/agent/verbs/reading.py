"""`read`: a file from an offset. `fetch`: a folder's files as one tar stream."""

from __future__ import annotations

import os
import stat
import tarfile

from shared.remote.agent import trees
from shared.remote.agent.archives import file_head
from shared.remote.agent.errors import invalid
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.frames import CHUNK_BYTES
from shared.remote.agent.places import Place, parts_of
from shared.remote.common import untrusted

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LEFT_OUT_NAMED = 1000


def read(place: Place, offset: int, limit: int | None, exchange: Exchange) -> None:
    """Run the verb: what the file held when it was opened, from the offset on."""
    folder, name = place.open_parent()
    try:
        descriptor = untrusted.open_regular(name, folder=folder)
    finally:
        os.close(folder)
    try:
        found = os.fstat(descriptor)
        exchange.begin({"size": found.st_size, "offset": offset})
        end = found.st_size if limit is None else min(found.st_size, offset + limit)
        while offset < end:
            data = os.pread(descriptor, min(CHUNK_BYTES, end - offset), offset)
            if not data:
                break
            exchange.send(data)
            offset += len(data)
        exchange.finish()
    finally:
        os.close(descriptor)


class _Fetch:
    """Walks a folder in the order of names and sends its regular files; notes what it leaves out."""

    def __init__(self, exchange: Exchange, excluded: set[tuple[str, ...]]) -> None:
        self._exchange = exchange
        self._excluded = excluded
        self._waiting = bytearray()
        self.left_out: list[dict[str, str]] = []
        self.left_out_count = 0

    def folder(self, descriptor: int, parts: tuple[str, ...]) -> None:
        for name in sorted(os.listdir(descriptor)):
            self._exchange.moved()
            path = (*parts, name)
            if path in self._excluded:
                continue
            try:
                self._entry(descriptor, name, path)
            except FileNotFoundError:
                continue  # a temporary file that is gone again
            except OSError as error:
                self._leave_out(path, error.strerror or str(error))

    def _entry(self, folder: int, name: str, path: tuple[str, ...]) -> None:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            if len(path) > trees.DEEPEST:
                self._leave_out(path, "a folder that is nested too deeply")
                return
            inside = os.open(name, _FOLDER, dir_fd=folder)
            try:
                self.folder(inside, path)
            finally:
                os.close(inside)
        elif stat.S_ISREG(found.st_mode):
            descriptor = untrusted.open_regular(name, folder=folder)
            try:
                self._file(descriptor, path)
            finally:
                os.close(descriptor)
        else:
            self._leave_out(path, "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a regular file")

    def _file(self, descriptor: int, path: tuple[str, ...]) -> None:
        found = os.fstat(descriptor)
        size = found.st_size
        self._send(file_head("/".join(path), size, stat.S_IMODE(found.st_mode), int(found.st_mtime)))
        at = 0
        while at < size:
            data = os.pread(descriptor, min(CHUNK_BYTES, size - at), at)
            if not data:
                self._leave_out(path, "it became shorter while it was read; its end is filled with zeros")
                data = bytes(min(CHUNK_BYTES, size - at))
            self._send(data)
            at += len(data)
        self._send(bytes(-size % tarfile.BLOCKSIZE))

    def _send(self, data: bytes) -> None:
        """Many small files go in one frame."""
        self._waiting += data
        if len(self._waiting) >= CHUNK_BYTES:
            self._exchange.send(bytes(self._waiting))
            self._waiting.clear()

    def finish(self) -> None:
        """The end of the archive, and of the stream."""
        self._exchange.send(bytes(self._waiting) + bytes(2 * tarfile.BLOCKSIZE))
        self._exchange.finish({"left_out": self.left_out, "left_out_count": self.left_out_count})

    def _leave_out(self, path: tuple[str, ...], why: str) -> None:
        self.left_out_count += 1
        if len(self.left_out) < MOST_LEFT_OUT_NAMED:
            shown = "/".join(path).encode("utf-8", "replace").decode()
            if not self.left_out or self.left_out[-1]["path"] != shown:
                self.left_out.append({"path": shown, "why": why})


def fetch(place: Place, exclude: list[str], exchange: Exchange) -> None:
    """Run the verb."""
    excluded = {tuple(parts_of(path, "exclude")) for path in exclude}
    if () in excluded:
        raise invalid("exclude names the folder itself", "exclude")
    descriptor = place.open()
    try:
        exchange.begin({})
        walk = _Fetch(exchange, excluded)
        walk.folder(descriptor, ())
        walk.finish()
    finally:
        os.close(descriptor)
