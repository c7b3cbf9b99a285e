"""From where a cluster's queue is looked at: how often, what was seen last, and whether it works."""

import time

import msgspec

from shared.slurm.answers.queue import Queue, QueueRow
from stoker.backoff import Pauses

MIN_INTERVAL_SECONDS = 1.0
"""A scheduler is asked at most once in so long: it has others to serve."""
LONGEST_PAUSE_SECONDS = 60.0


class QueueLook(msgspec.Struct, frozen=True):
    """What one look showed; `at` is when it was begun (epoch seconds), `rows` are in the order of their ids."""

    at: float
    rows: list[QueueRow]


class Viewpoint:
    """One identity that asks for the queue. `error` says why its last look failed."""

    def __init__(self) -> None:
        self.last: QueueLook | None = None
        self.error: str | None = None
        self.next_at = 0.0
        """When it may look again (monotonic)."""
        # The shortest of them is half of the first.
        self._pauses = Pauses(first_seconds=2 * MIN_INTERVAL_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)

    def begins(self, interval_seconds: float) -> None:
        """Note that a look begins now."""
        self.next_at = time.monotonic() + max(interval_seconds, MIN_INTERVAL_SECONDS)

    def worked(self) -> None:
        """Note that it was answered."""
        self.error = None
        self._pauses.reset()

    def failed(self, error: str) -> None:
        """Note that it was not; the next one comes after a pause that grows."""
        self.error = error
        self.next_at = max(self.next_at, time.monotonic() + self._pauses.next())


def ordered(queue: Queue) -> list[QueueRow]:
    """Return the rows by job and task; of rows about the very same launches the last."""
    return sorted({position(row): row for row in queue.rows}.values(), key=position)


def position(row: QueueRow) -> tuple[int, int]:
    """Return where a row stands among the others: an array's whole line before its tasks."""
    return row.id.job, row.id.tasks[0].start if row.id.tasks else -1
