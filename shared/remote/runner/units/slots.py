"""A slot and what runs in it."""

from __future__ import annotations

import contextlib
import os
import resource
import time

from shared.remote.common import untrusted
from shared.remote.common.layout import LOGS
from shared.remote.runner.batch import Attempt

LAST_WORDS_BYTES = 1000
LAST_WORDS_LINES = 5

# How far ending a unit has come.
UNTOUCHED, ASKED, FORCED = range(3)


class Slot:
    """One of the p places of a batch.

    A number, a log file that all its units append to, names for temporary files.
    """

    def __init__(self, folder: str, number: int) -> None:
        self.number = number
        path = os.path.join(folder, LOGS, f"slot-{number}.log")
        self.log = untrusted.open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.arguments_file = os.path.join(folder, f"arguments-{number}.json")
        self.output_file = os.path.join(folder, f"output-{number}.json")

    def log_length(self) -> int:
        """Bytes in the log."""
        return os.fstat(self.log).st_size

    def last_words(self, start: int) -> str:
        """Return the end of what was written to the log from `start` on: some lines at most."""
        try:
            length = self.log_length()
            first = max(start, length - LAST_WORDS_BYTES)
            text = os.pread(self.log, length - first, first).decode("utf-8", "replace") if length > first else ""
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-LAST_WORDS_LINES:])


def remove(path: str) -> None:
    """Delete a temporary file that may not be there."""
    with contextlib.suppress(OSError):
        os.unlink(path)


class Running:
    """An attempt from its start until nothing of it is left.

    `ended_at` is set when the command itself has ended; processes that it left behind may live on for a moment.
    `cut` is the reason when the runner ended it; `act_at` is when to do the next thing about it.
    """

    __slots__ = (
        "act_at",
        "attempt",
        "cut",
        "ended_at",
        "forced_at",
        "log_start",
        "pid",
        "slot",
        "stage",
        "started_at",
        "status",
        "strays",
        "strays_signalled",
        "usage",
    )

    def __init__(self, slot: Slot, attempt: Attempt, started_at: float, log_start: int) -> None:
        self.slot = slot
        self.attempt = attempt
        self.pid = 0
        self.started_at = started_at
        self.log_start = log_start
        self.ended_at: float | None = None
        self.status = 0
        self.usage: resource.struct_rusage | None = None
        self.stage = UNTOUCHED
        self.cut: dict[str, str] | None = None
        self.act_at: float | None = None
        self.forced_at: float | None = None
        self.strays: set[int] = set()
        self.strays_signalled = False

    def end(self, status: int, usage: resource.struct_rusage) -> None:
        """Note that the command itself has ended."""
        self.ended_at = time.time()
        self.status = status
        self.usage = usage
