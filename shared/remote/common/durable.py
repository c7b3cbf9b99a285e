"""Writing small files so that they are there whole, or not at all, also after a power cut."""

from __future__ import annotations

import os
import stat

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LARGEST_SMALL_FILE_BYTES = 8 * 1024 * 1024


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it; OSError when that is impossible (some of it may have been written)."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_new(folder: int, name: str, data: bytes) -> None:
    """Make a file with this content on disk; OSError, and no file, when it cannot be."""
    descriptor = os.open(name, NEW_FILE, 0o644, dir_fd=folder)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise


def replace(folder: int, name: str, data: bytes) -> None:
    """Give the file this content by one rename."""
    temporary = f".{name}-{os.urandom(6).hex()}"
    write_new(folder, temporary, data)
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def read_small(folder: int, name: str, limit: int = LARGEST_SMALL_FILE_BYTES) -> bytes | None:
    """Return a regular file's content (at most `limit` bytes of it), None when it is not there."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def read_tail(folder: int, name: str, limit: int) -> bytes | None:
    """Return the last bytes of a regular file, None when it is not there."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return None
        file.seek(max(0, found.st_size - limit))
        return file.read(limit)
