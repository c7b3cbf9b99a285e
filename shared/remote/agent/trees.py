"""Whole folders: deleting and measuring them, without ever following a link."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import stat
from collections.abc import Callable, Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 512
_NAMES_AT_ONCE = 10_000
"""A folder may hold more names than fit into the memory."""
DEEPEST = 64
"""A folder is open for each level; what units nested more deeply than this is brought up before it is deleted."""

Moved = Callable[[], None]


def delete(folder: int, name: str, moved: Moved) -> int:
    """Delete a file or a folder with all below it; returns the bytes of disk that it took. OSError.

    `moved` is called whenever something was done.
    """
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=folder)
        return found.st_blocks * _BLOCK_BYTES
    inside = _open(folder, name, found)
    try:
        freed = _empty(inside, inside, 1, moved)
    finally:
        os.close(inside)
    os.rmdir(name, dir_fd=folder)
    return freed + found.st_blocks * _BLOCK_BYTES


def _open(folder: int, name: str, found: os.stat_result) -> int:
    if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IRWXU, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _empty(folder: int, top: int, depth: int, moved: Moved) -> int:
    freed = 0
    # Until nothing is left: what lay too deep is brought up to `top`.
    while names := _some_names(folder):
        for name in names:
            moved()
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=folder)
            else:
                inside = _open(folder, name, found)
                try:
                    if depth >= DEEPEST:
                        os.rename(name, f".deep-{os.urandom(8).hex()}", src_dir_fd=folder, dst_dir_fd=top)
                        continue
                    freed += _empty(inside, top, depth + 1, moved)
                finally:
                    os.close(inside)
                os.rmdir(name, dir_fd=folder)
            freed += found.st_blocks * _BLOCK_BYTES
    return freed


def _some_names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in itertools.islice(entries, _NAMES_AT_ONCE)]


def measure(folder: int, moved: Moved) -> tuple[int, int]:
    """Return (bytes of disk, files) of an open folder.

    What vanishes meanwhile, may not be looked at, or lies too deep is not counted.
    """
    blocks, files = os.fstat(folder).st_blocks, 0
    for found in _walk(folder, 1, moved):
        blocks += found.st_blocks
        files += not stat.S_ISDIR(found.st_mode)
    return blocks * _BLOCK_BYTES, files


def _walk(folder: int, depth: int, moved: Moved) -> Iterator[os.stat_result]:
    with os.scandir(folder) as entries:
        for entry in entries:
            moved()
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                yield found
                if not stat.S_ISDIR(found.st_mode) or depth >= DEEPEST:
                    continue
                inside = os.open(entry.name, _FOLDER, dir_fd=folder)
                try:
                    yield from _walk(inside, depth + 1, moved)
                finally:
                    os.close(inside)


def delete_leftovers(folder: int, prefix: str, moved: Moved) -> int:
    """Delete folders with this prefix that nobody holds a lock on; returns the bytes that they took."""
    freed = 0
    for name in os.listdir(folder):
        if not name.startswith(prefix):
            continue
        with contextlib.suppress(OSError):
            inside = os.open(name, _FOLDER, dir_fd=folder)
            try:
                fcntl.flock(inside, fcntl.LOCK_EX | fcntl.LOCK_NB)
                freed += delete(folder, name, moved)
            finally:
                os.close(inside)
    return freed
