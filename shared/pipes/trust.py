"""Whether a program can be exchanged by anybody but root: what sudo starts as others has to be beyond doubt."""

import stat
from pathlib import Path

_MOST_LINKS = 40


def untrusted_parts(path: str) -> list[str]:
    """Return what is wrong with a file and the folders on the way to it, links followed; empty when nothing is.

    All of them have to be owned by root and not writable by group or others: who may write to a folder may put
    another file in its place. Each finding ends with the line that mends it, where there is one.
    """
    if not path.startswith("/"):
        return [f"{path} is not an absolute path"]
    current, waiting, links = Path("/"), list(Path(path).parts[1:]), 0
    findings = dict.fromkeys(_wrong_with(current))
    while waiting:
        part = waiting.pop(0)
        below = current.parent if part == ".." else current / part
        if below.is_symlink():
            # The link itself is guarded by the folder that it is in.
            links += 1
            if links > _MOST_LINKS:
                return [*findings, f"{path} leads through too many links"]
            target = below.readlink()
            waiting = [*(target.parts[1:] if target.is_absolute() else target.parts), *waiting]
            current = Path("/") if target.is_absolute() else current
            continue
        findings |= dict.fromkeys(_wrong_with(below, file=not waiting))
        if not below.exists():
            break
        current = below
    return list(findings)


def _wrong_with(path: Path, *, file: bool = False) -> list[str]:
    try:
        found = path.lstat()
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    findings = []
    if found.st_uid != 0:
        findings.append(f"{path} is owned by uid {found.st_uid}, not by root: chown root {path}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        findings.append(f"{path} is writable by others than root: chmod go-w {path}")
    if file and not stat.S_ISREG(found.st_mode):
        findings.append(f"{path} is not a file")
    return findings
