"""A little disk space held back, so that a runner on a full disk can still say that it is full."""

from __future__ import annotations

import contextlib
import os

from shared.remote.common.durable import write_new
from shared.remote.common.layout import RESERVE_PREFIX

RESERVE_BYTES = 64 * 1024


def hold(folder: int, native_id: str) -> None:
    """Take the space; OSError (a disk that is full now) and nothing left."""
    with contextlib.suppress(FileExistsError):
        write_new(folder, RESERVE_PREFIX + native_id, os.urandom(RESERVE_BYTES))


def release(folder: int, native_id: str) -> None:
    """Give it back."""
    with contextlib.suppress(OSError):
        os.unlink(RESERVE_PREFIX + native_id, dir_fd=folder)
