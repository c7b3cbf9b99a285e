"""Whether a program can be exchanged by anybody but root: what sudo starts as others has to be beyond doubt."""

import os
import stat
from pathlib import Path

import msgspec

_MOST_LINKS = 40


class Doubt(msgspec.Struct, frozen=True):
    """One thing that is wrong on the way to a file, and the line that mends it (empty where there is none)."""

    detail: str
    mend: str = ""


def untrusted_parts(path: str) -> list[Doubt]:
    """Return what is wrong with a file and the folders on the way to it, links followed; empty when nothing is.

    All of them have to be owned by root and not writable by group or others: who may write to a folder may put
    another file in its place. A folder with the sticky bit (/tmp) is no such folder: there nobody but root exchanges
    what is root's.
    """
    if not path.startswith("/"):
        return [Doubt(f"{path} is not an absolute path")]
    current, waiting, links = Path("/"), list(Path(path).parts[1:]), 0
    doubts = dict.fromkeys(_wrong_with(current, current.lstat()))
    while waiting:
        part = waiting.pop(0)
        below = current.parent if part == ".." else current / part
        try:
            found = below.lstat()
        except OSError as error:
            return [*doubts, Doubt(f"{below}: {error.strerror}")]
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                return [*doubts, Doubt(f"{path} leads through too many links")]
            doubts |= dict.fromkeys(_wrong_owner(below, found))
            target = below.readlink()
            waiting = [*(target.parts[1:] if target.is_absolute() else target.parts), *waiting]
            current = Path("/") if target.is_absolute() else current
            continue
        doubts |= dict.fromkeys(_wrong_with(below, found, file=not waiting))
        current = below
    return list(doubts)


def _wrong_with(path: Path, found: os.stat_result, *, file: bool = False) -> list[Doubt]:
    doubts = _wrong_owner(path, found)
    guarded = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not guarded:
        doubts.append(Doubt(f"{path} is writable by others than root", f"chmod go-w {path}"))
    if file and not stat.S_ISREG(found.st_mode):
        doubts.append(Doubt(f"{path} is not a file"))
    return doubts


def _wrong_owner(path: Path, found: os.stat_result) -> list[Doubt]:
    if found.st_uid == 0:
        return []
    # Of a link, the link itself.
    return [Doubt(f"{path} is owned by uid {found.st_uid}, not by root", f"chown -h root {path}")]
