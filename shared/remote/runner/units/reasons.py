"""Why a unit ended as it did: a code for programs, a sentence for people."""

from __future__ import annotations

import errno
import os
import signal

Reason = dict[str, str]


def reason(code: str, text: str) -> dict[str, str]:
    """As results.jsonl holds it."""
    return {"code": code, "text": text}


def exit_code(code: int) -> dict[str, str]:
    """The command itself reported failure."""
    return reason("exit_code", f"the command ended with exit code {code}")


def killed_by(number: int) -> dict[str, str]:
    """The command was ended by a signal that the runner did not send."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    hint = ": out of memory, or ended from outside" if number == signal.SIGKILL else ""
    return reason("signal", f"the command was killed by signal {number} ({name}){hint}")


def not_started(program: str, error: OSError) -> dict[str, str]:
    """The operating system refused to start the command."""
    words = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.ENOENT:
        if os.path.exists(program):
            return reason(
                "command_not_found", f"{program} is there, but the interpreter that its first line names is not"
            )
        return reason("command_not_found", f"command not found: {program}")
    if error.errno == errno.ENOTDIR:
        return reason("command_not_found", f"command not found: {program} ({words})")
    if error.errno == errno.ENOEXEC:
        return reason(
            "command_not_executable", f"{program} is neither a program nor a script with a #! line ({words})"
        )
    if error.errno == errno.EACCES:
        return reason("command_not_executable", f"{program} may not be executed ({words})")
    if error.errno == errno.E2BIG:
        return reason(
            "start_failed",
            "argument list too long: the operating system limits the size of arguments (one: 128 KiB); "
            "hand large ones over in a file, with {args_json}",
        )
    return reason("start_failed", f"{program} could not be started: {words}")


def time_limit(seconds: float) -> dict[str, str]:
    """Ended by the runner after its time."""
    return reason("time_limit", f"the unit was ended after its time limit of {seconds:g} seconds")


def interrupted(why: str) -> dict[str, str]:
    """Ended by the runner because the batch was told to stop."""
    return reason("interrupted", f"the unit was ended before it had finished: {why}")


STRAYS_ENDED = reason(
    "stray_processes_ended", "the command left processes running in the background when it ended; they were ended"
)


def strays_left(pids: set[int]) -> dict[str, str]:
    """Processes that did not die by SIGKILL (another user's, or stuck in the kernel)."""
    names = ", ".join(str(pid) for pid in sorted(pids))
    return reason("stray_processes_left", f"processes of this unit could not be ended: {names}")
