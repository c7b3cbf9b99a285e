"""Append-only JSON-lines files. A line is one write; a line that could not be written whole is taken back."""

from __future__ import annotations

import contextlib
import os

from shared.remote.common import untrusted
from shared.remote.common.durable import write_all


class NotRecorded(Exception):  # noqa: N818 - says what it is
    """A line could not be written (disk full, quota, …), and nothing of it is in the file."""


class JsonLines:
    """One file that only this process appends to. `count` lines are in it."""

    def __init__(self, folder: str, name: str) -> None:
        self._path = os.path.join(folder, name)
        self._descriptor = untrusted.open_regular(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._length = os.fstat(self._descriptor).st_size
        self.count = self._whole_lines()
        self._heal()

    def _whole_lines(self) -> int:
        found, at = 0, 0
        while at < self._length:
            data = os.pread(self._descriptor, 1024 * 1024, at)
            if not data:
                break
            found, at = found + data.count(b"\n"), at + len(data)
        return found

    def _heal(self) -> None:
        """A line that was cut off with its writer must not swallow the next one."""
        if self._length == 0 or os.pread(self._descriptor, 1, self._length - 1) == b"\n":
            return
        write_all(self._descriptor, b"\n")
        self._length += 1

    def append(self, line: bytes) -> None:
        """Add a line (without its newline); NotRecorded when it cannot be written."""
        data = line + b"\n"
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._length)
            raise NotRecorded(f"{error.strerror}: {self._path}") from error
        self._length += len(data)
        self.count += 1

    def sync(self) -> None:
        """Wait until it is on disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise NotRecorded(f"{error.strerror}: {self._path}") from error
