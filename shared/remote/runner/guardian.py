"""The guardian: the runner's parent, which ends whatever a killed runner leaves behind, and only then lets go.

A runner that dies by SIGKILL cannot clean up; its descendants (all of them, also daemons in sessions of their own)
are
then adopted by the guardian and killed. The other way round, a runner whose guardian dies is told to stop. So only
killing both at once leaves strays, and those are found by their mark when the batch is revoked.
"""

from __future__ import annotations

import os
import signal
import time

from shared.remote.common.processes import descendants, send
from shared.remote.runner.kernel import adopt_orphans, die_with_parent
from shared.remote.runner.notes import note
from shared.remote.runner.pool import SIGNALS, STOP_SIGNALS


def split() -> int:
    """Fork.

    Returns 0 in the runner, and in the guardian the runner's pid. The signals of SIGNALS are blocked in both.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    adopt_orphans()
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        adopt_orphans()
        die_with_parent(signal.SIGTERM)
        if os.getppid() != guardian:
            os.kill(os.getpid(), signal.SIGTERM)
    return pid


def watch(runner: int) -> int:
    """Pass signals on to the runner until it ends; then end what is left, and return the exit code to leave with."""
    while True:
        number = signal.sigwait(SIGNALS)
        if number in STOP_SIGNALS:
            send({runner}, number)
        while number == signal.SIGCHLD:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == runner:
                return _last_words(status)


def _last_words(status: int) -> int:
    ended = _end_all()
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    note(f"the runner was killed by signal {number}; {ended} processes of its units were ended")
    return 128 + number


def _end_all(timeout_seconds: float = 10.0) -> int:
    ended: set[int] = set()
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        left = descendants({os.getpid()})
        if not left:
            break
        ended |= left
        send(left, signal.SIGKILL)
        time.sleep(0.01)
    return len(ended)
