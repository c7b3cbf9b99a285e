"""Two favours of the Linux kernel that Python has no names for."""

from __future__ import annotations

import os

try:
    import ctypes
except ImportError:  # a Python built without libffi
    ctypes = None  # type: ignore[assignment]

_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Keep what programs leave behind below this process, where it is found and ended."""
    if ctypes is not None:
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def to_disk(folder: str) -> None:
    """Wait until the file system of this folder has written everything; OSError (a full disk may show only then)."""
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
