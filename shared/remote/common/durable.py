"""Writing small files so that they are there whole, or not at all, also after a power cut."""

from __future__ import annotations

import os

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


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
