"""Starting a unit's process: posix_spawn (twice as fast as fork, and it says itself why a program cannot start)."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Sequence

# Whatever is ignored here (SIGPIPE by Python, SIGINT by some shells' background jobs), units start without.
_DEFAULTS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
OOM_SCORE_ADDED = 300
_HIGHEST_OOM_SCORE = 1000


class Spawner:
    """Starts commands with one environment and remembers where their programs were found."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._programs: dict[str, str] = {}
        self._score = _own_oom_score()

    def start(self, command: list[str], variables: dict[str, str], log: int, cpus: Sequence[int] = ()) -> int:
        """Return the pid of the command, running in a session of its own; OSError with the reason, or ValueError.

        `cpus` are all that it may use, if any are named.
        """
        environment = {**self._environment, **variables}
        program = self.program(command[0])
        if not cpus:
            return self._spawn(program, command, environment, log)
        # A child inherits what this, the only thread, is bound to.
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cpus)
        try:
            return self._spawn(program, command, environment, log)
        finally:
            os.sched_setaffinity(0, own)

    def _spawn(self, program: str, command: list[str], environment: dict[str, str], log: int) -> int:
        pid = os.posix_spawn(
            program,
            command,
            environment,
            file_actions=(
                (os.POSIX_SPAWN_DUP2, self._nothing, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULTS,
        )
        self._make_preferred_victim(pid)
        return pid

    def program(self, name: str) -> str:
        """Return the file that a command's first word means, by the unit's own PATH; OSError when there is none."""
        if "/" in name:
            return name
        found = self._programs.get(name)
        if found is None or not os.access(found, os.X_OK):
            found = self._programs[name] = self._search(name)
        return found

    def _search(self, name: str) -> str:
        refused = None
        for folder in self._environment["PATH"].split(os.pathsep):
            path = os.path.join(folder or ".", name)
            if os.path.isfile(path):
                if os.access(path, os.X_OK):
                    return path
                refused = refused or path
        number = errno.EACCES if refused else errno.ENOENT
        raise OSError(number, os.strerror(number), refused or name)

    def _make_preferred_victim(self, pid: int) -> None:
        """When memory runs out, the kernel is to end units, not the runner that reports on them."""
        try:
            descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.write(descriptor, self._score)
        except OSError:
            return
        finally:
            os.close(descriptor)


def _own_oom_score() -> bytes:
    try:
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            own = int(file.read())
    except (OSError, ValueError):
        own = 0
    return str(min(own + OOM_SCORE_ADDED, _HIGHEST_OOM_SCORE)).encode()
