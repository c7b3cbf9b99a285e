"""What a queue says about one launch, in one short text: for comparing, and for saying whether anything changed."""

from collections import defaultdict
from collections.abc import Iterable

from shared.slurm.answers.native_ids import array_job
from shared.slurm.answers.queue import Queue, QueueRow
from shared.slurm.answers.states import TERMINAL_STATES

ABSENT = "absent"
"""The digest of a launch that a look at the whole queue did not show."""

_FIRST_KINDS = ("active", "pending", "unknown", "terminal")
_LONGEST_REASON = 120


def digest_of(queue: Queue, native_id: str) -> str:
    """Return `STATE|Reason|start`, `absent`, or nothing where the queue tells nothing about this launch.

    `start` is in whole epoch seconds (an estimate while it waits), empty where SLURM does not say.
    """
    return digests_of(queue, [native_id])[native_id]


def digests_of(queue: Queue, native_ids: Iterable[str]) -> dict[str, str]:
    """Return the digest of each of these launches: thousands of them, in a queue of thousands."""
    single: defaultdict[str, list[QueueRow]] = defaultdict(list)
    several: defaultdict[int | None, list[QueueRow]] = defaultdict(list)
    for row in queue.rows:
        if (own := row.id.native_id) is not None:
            single[own].append(row)
        else:
            several[row.id.job].append(row)
    whole = queue.whole
    digests = {}
    for native_id in native_ids:
        job = array_job(native_id)
        rows = [*single.get(native_id, ()), *several.get(job, ())]
        if native_id != str(job):
            # An array that has no task any more may be shown by its number alone.
            rows += single.get(str(job), ())
        digests[native_id] = _digest(Queue(rows).of(native_id), whole=whole)
    return digests


def digest_state(digest: str) -> str | None:
    """Return SLURM's word in a digest, None where there is none."""
    word = digest.partition("|")[0]
    return word if word and digest != ABSENT else None


def is_over(digest: str) -> bool:
    """Whether nothing but an end can follow: a terminal state, or no trace."""
    return digest == ABSENT or digest_state(digest) in TERMINAL_STATES


def _digest(rows: list[QueueRow], *, whole: bool) -> str:
    if not rows:
        return ABSENT if whole else ""
    row = min(rows, key=lambda one: _FIRST_KINDS.index(one.state.kind))
    start = "" if row.start is None else f"{row.start:.0f}"
    reason = row.reason.replace("|", "/")[:_LONGEST_REASON]
    return f"{row.state.word}|{reason}|{start}"
