"""From what the operating system says about an ended command to the outcome of the attempt."""

from __future__ import annotations

import os
import signal

from shared.remote.runner.reports import Reports
from shared.remote.runner.units import reasons
from shared.remote.runner.units.outputs import collect
from shared.remote.runner.units.slots import Running


def ended_by_term(status: int) -> bool:
    """Whether a command died of SIGTERM, or says so as a shell does."""
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGTERM
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 128 + signal.SIGTERM


def record(running: Running, reports: Reports, *, output_limit_bytes: int | None) -> None:
    """Judge an attempt of which nothing is left and write the result.

    `output_limit_bytes` None: it has no out file.
    """
    exit_code = os.WEXITSTATUS(running.status) if os.WIFEXITED(running.status) else None
    number = os.WTERMSIG(running.status) if os.WIFSIGNALED(running.status) else None
    outcome, reason, output = "failed", None, None
    if running.cut is not None:
        outcome = "interrupted" if running.cut["code"] == "interrupted" else "failed"
        reason = running.cut
    elif number is not None:
        reason = reasons.killed_by(number)
    elif exit_code:
        reason = reasons.exit_code(exit_code)
    else:
        if output_limit_bytes is not None:
            output, reason = collect(running.slot.output_file, output_limit_bytes)
        if reason is None:
            outcome = "succeeded"
            if running.strays:
                reason = reasons.strays_left(running.strays)
            elif running.strays_signalled:
                reason = reasons.STRAYS_ENDED
    reports.result(running, outcome, exit_code=exit_code, signal=number, reason=reason, output=output)
