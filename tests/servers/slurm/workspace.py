"""The folder, the tag and the lock of one run of the test cluster; and what a run that died left behind.

A run owns exactly this:
- `/tmp/stoker-slurm-<tag>`: configuration, state, logs, sockets, homes;
- users, a group and sudoers files whose names begin with `stk<tag>-`;
- processes that carry `STOKER_TEST_CLUSTER=<folder>` in their environment, or belong to one of those users.

The run holds a lock on a file in its folder for as long as its process lives, whatever ends it. So a folder whose
lock is free belongs to nobody: the next start (or `python -m tests.servers.slurm.workspace`) removes all of it.
Runs of several people and of several xdist workers do not touch each other.
"""

import contextlib
import fcntl
import grp
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MARK = "STOKER_TEST_CLUSTER"
_PARENT = Path("/tmp")
_PREFIX = "stoker-slurm-"
_GATE = _PARENT / ".stoker-slurm.lock"
_SUDOERS = Path("/etc/sudoers.d")
_KILL_SECONDS = 10.0


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Between making a folder and locking it, nobody may look at it."""
    with _GATE.open("ab") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


class Workspace:
    """Made with `Workspace()`, removed with `remove()`."""

    def __init__(self) -> None:
        with _one_at_a_time():
            remove_leftovers()
            self.tag = secrets.token_hex(2)
            while (folder := _PARENT / f"{_PREFIX}{self.tag}").exists():
                self.tag = secrets.token_hex(2)
            folder.mkdir(mode=0o755)
            folder.chmod(0o755)  # whatever the umask: users must reach their homes
            self._lock: IO[bytes] = (folder / "lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder = folder

    @property
    def name_prefix(self) -> str:
        """What the names of its users, groups and sudoers files begin with."""
        return name_prefix(self.tag)

    def remove(self) -> None:
        """End what still runs and remove everything; safe to repeat."""
        _remove(self.folder)
        self._lock.close()


def name_prefix(tag: str) -> str:
    return f"stk{tag}-"


def remove_leftovers() -> list[Path]:
    """Remove what dead runs left; returns their folders."""
    dead = []
    for folder in sorted(_PARENT.glob(f"{_PREFIX}*")):
        if not folder.is_dir() or folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            continue
        with contextlib.suppress(BlockingIOError), (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
            dead.append(folder)
    return dead


def _remove(folder: Path) -> None:
    prefix = name_prefix(folder.name.removeprefix(_PREFIX))
    users = [user for user in pwd.getpwall() if user.pw_name.startswith(prefix)]
    _kill_all(folder, {user.pw_uid for user in users})
    for path in _SUDOERS.glob(f"{prefix}*"):
        path.unlink()
    for user in users:
        _change_accounts(["userdel", user.pw_name])
    for group in grp.getgrall():
        if group.gr_name.startswith(prefix):
            _change_accounts(["groupdel", group.gr_name])
    for disk in _disks(folder):
        subprocess.run(["/usr/bin/umount", "--lazy", disk], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _disks(folder: Path) -> list[str]:
    """What is mounted below a folder."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [place for place in mounted if place.startswith(f"{folder}/")]


def _change_accounts(command: list[str]) -> None:
    """The account tools refuse while another one works: try again for a while."""
    for _ in range(50):
        done = subprocess.run(["/usr/sbin/" + command[0], *command[1:]], capture_output=True, text=True, check=False)
        if done.returncode == 0 or "try again later" not in done.stderr:
            return
        time.sleep(0.1)


def marked_processes(folder: Path, uids: set[int]) -> Iterator[int]:
    """Pids of processes of the run in `folder`: by their mark, or by their user."""
    mark = f"{MARK}={folder}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            if entry.stat().st_uid in uids or mark in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def _kill_all(folder: Path, uids: set[int]) -> None:
    """SIGKILL until nobody is left; zombies have an empty environment and count as gone unless their user is ours."""
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline:
        alive = [pid for pid in marked_processes(folder, uids) if not _is_zombie(pid)]
        if not alive:
            return
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


if __name__ == "__main__":
    with _one_at_a_time():
        for removed in remove_leftovers():
            print(f"removed what was left of {removed}")  # noqa: T201 - said to whoever runs it by hand
