"""`python -I -S leash.py SUPERVISOR_PID PROGRAM ARGUMENTS…`: become PROGRAM, which ends when the supervisor does.

The kernel sends SIGTERM to a process whose parent has died, if the process asked for it. Only the new process itself
can ask; doing so here, instead of between fork and exec of the supervisor, keeps that safe with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, then become the program."""
    supervisor, program = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:  # it died before the kernel knew that we care
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
