"""Whole folders: moved out of the way, removed, opened to readers, measured. Links are never followed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat

_BLOCK_BYTES = 512
_READABLE = 0o444
_ENTERABLE = 0o111
_NOT_FOR_OTHERS_TO_WRITE = ~0o022


def discard(path: str, aside: str) -> None:
    """Move a folder to `aside` at once, then remove it; nothing happens where it is not there.

    OSError when it could not be moved. A rest that cannot be removed stays there.
    """
    while os.path.lexists(path):
        os.makedirs(os.path.dirname(aside), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another one may remove the empty parent at the same moment
            os.rename(path, aside)
    remove(aside)


def remove(path: str) -> None:
    """Remove a folder or file as far as that is possible, also folders that are not writable."""
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                if not os.stat(folder).st_mode & stat.S_IWUSR:
                    os.chmod(folder, 0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def open_to_readers(path: str) -> None:
    """Let everybody read what is in a folder, and nobody but its owner change it.

    Installers copy modes from their caches, which may have been filled under another umask.
    """
    for folder, _, files in os.walk(path):
        for name in ("", *files):
            file = os.path.join(folder, name) if name else folder
            found = os.lstat(file).st_mode
            if stat.S_ISLNK(found):
                continue
            enter = _ENTERABLE if found & stat.S_IXUSR else 0
            wanted = (stat.S_IMODE(found) | _READABLE | enter) & _NOT_FOR_OTHERS_TO_WRITE
            if wanted != stat.S_IMODE(found):
                os.chmod(file, wanted)


def separate(path: str) -> None:
    """Make every file one of its own: what changes in it then changes nowhere else (hard links into caches)."""
    for folder, _, files in os.walk(path):
        for name in files:
            file = os.path.join(folder, name)
            found = os.lstat(file)
            if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
                shutil.copy2(file, file + ".separate")
                os.replace(file + ".separate", file)


def measure(path: str) -> tuple[int, int]:
    """Return (bytes on disk, files) of a folder; files with several names count once."""
    seen: set[tuple[int, int]] = set()
    used = count = 0
    for folder, _, files in os.walk(path):
        count += len(files)
        for name in ("", *files):
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(folder, name))
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    used += found.st_blocks * _BLOCK_BYTES
    return used, count
