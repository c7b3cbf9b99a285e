"""Having a folder's files on disk before something says that they are there."""

from __future__ import annotations

import os

try:
    import ctypes
except ImportError:  # a Python built without libffi
    ctypes = None  # type: ignore[assignment]


def to_disk(folder: str) -> None:
    """Wait until the file system of this folder has written everything; OSError (a full disk shows only then)."""
    if ctypes is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)
