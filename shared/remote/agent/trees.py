"""Whole folders: deleting and measuring them, without ever following a link."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 512


def delete(folder: int, name: str) -> int:
    """Delete a file or a folder with all below it; returns the bytes of disk that it took. OSError."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    freed = found.st_blocks * _BLOCK_BYTES
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=folder)
        return freed
    if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IRWXU, dir_fd=folder)
    inside = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for entry in os.listdir(inside):
            freed += delete(inside, entry)
    finally:
        os.close(inside)
    os.rmdir(name, dir_fd=folder)
    return freed


def measure(folder: int) -> tuple[int, int]:
    """Return (bytes of disk, files) of an open folder; what vanishes meanwhile is not counted."""
    size = os.fstat(folder).st_blocks * _BLOCK_BYTES
    files = 0
    for name in os.listdir(folder):
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                inside = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    below_size, below_files = measure(inside)
                finally:
                    os.close(inside)
                size, files = size + below_size, files + below_files
            else:
                size, files = size + found.st_blocks * _BLOCK_BYTES, files + 1
        except FileNotFoundError:
            continue
    return size, files


def delete_leftovers(folder: int, prefix: str) -> int:
    """Delete folders with this prefix that nobody holds a lock on; returns the bytes that they took."""
    freed = 0
    for name in os.listdir(folder):
        if not name.startswith(prefix):
            continue
        with contextlib.suppress(OSError):
            inside = os.open(name, _FOLDER, dir_fd=folder)
            try:
                fcntl.flock(inside, fcntl.LOCK_EX | fcntl.LOCK_NB)
                freed += delete(folder, name)
            finally:
                os.close(inside)
    return freed
