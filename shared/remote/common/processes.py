"""What /proc says about processes: who is whose child, since when, and whose mark it carries."""

from __future__ import annotations

import os
import signal
import time

from shared.remote.common.layout import MARK_VARIABLE


def boot_id() -> str:
    """Name of this boot of the machine: a pid means nothing after another one."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _stat_fields(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat from the state on (the name before it may hold anything)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def start_time(pid: int) -> int:
    """Clock ticks between boot and the start of a process; 0 when it is gone. With the pid it names a process."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else 0


def living() -> list[int]:
    """Return the pids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(roots: set[int]) -> set[int]:
    """Return all living (not zombie) processes below `roots`, without `roots` themselves."""
    children: dict[int, list[int]] = {}
    zombies = set()
    for pid in living():
        fields = _stat_fields(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
            if fields[0] in (b"Z", b"X"):
                zombies.add(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found and child not in roots:
                found.add(child)
                waiting.append(child)
    return found - zombies


def children(parent: int) -> list[int]:
    """Return the direct children of a process, zombies too."""
    return [pid for pid in living() if (_stat_fields(pid) or (b"", b"0"))[1] == b"%d" % parent]


def is_zombie(pid: int) -> bool:
    """Whether the process is gone but for its entry."""
    fields = _stat_fields(pid)
    return fields is None or fields[0] in (b"Z", b"X")


def environment_value(pid: int, name: str) -> str | None:
    """Return a variable of the environment that a process was started with."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return None
    prefix = name.encode() + b"="
    return next((os.fsdecode(entry[len(prefix) :]) for entry in entries if entry.startswith(prefix)), None)


def marked(mark: str) -> set[int]:
    """Return the living processes that carry a batch's mark in their environment."""
    if not mark:
        return set()
    return {pid for pid in living() if environment_value(pid, MARK_VARIABLE) == mark and not is_zombie(pid)}


def send(pids: set[int], number: int) -> None:
    """Send a signal to each; whoever is gone, or belongs to somebody else, is left out."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def end_marked(mark: str, timeout_seconds: float = 5.0) -> tuple[int, int]:
    """Kill every process with this mark; return how many there were, and how many are left."""
    ended: set[int] = set()
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = marked(mark)
        ended |= found
        if not found or time.monotonic() > deadline:
            return len(ended) - len(found), len(found)
        send(found, signal.SIGKILL)
        time.sleep(0.02)


def signal_process(pid: int, expected_start_time: int, number: int) -> bool:
    """Send a signal to exactly the process that started then; False when it is gone or another's."""
    if not pid or start_time(pid) != expected_start_time:
        return False
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True
