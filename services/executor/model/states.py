"""The state machines: in which order states may follow one another, and how a job's state follows from its parts.

Pure functions. A state only changes forward and a final one is never left; what arrives late, twice or in the wrong
order therefore changes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import get_args

from stoker.contracts.jobs import FINAL_JOB_STATES, FINAL_UNIT_STATES, BatchState, Counts, JobState, Reason

_JOB_ORDER: Mapping[str, int] = {
    "accepted": 0,
    "staging": 1,
    "queued": 2,
    "running": 3,
    "collecting": 4,
    "succeeded": 5,
    "failed": 5,
    "cancelled": 5,
}
_BATCH_ORDER: Mapping[str, int] = {
    "planned": 0,
    "launching": 1,
    "queued": 2,
    "running": 3,
    "ended": 4,
    "revoked": 4,
    "lost": 4,
}
_UNIT_ORDER: Mapping[str, int] = {
    "waiting": 0,
    "running": 1,
    "succeeded": 2,
    "failed": 2,
    "cancelled": 2,
    "lost": 2,
}

BATCH_STATES: tuple[BatchState, ...] = get_args(BatchState)
FINAL_BATCH_STATES: frozenset[str] = frozenset({"ended", "revoked", "lost"})


def may_follow(order: Mapping[str, int], now: str, then: str) -> bool:
    """Whether `then` is ahead of `now`; states of one rank exclude each other."""
    return order[then] > order[now]


def job_may_become(now: str, then: str) -> bool:
    """Whether a job in state `now` may move to `then`."""
    return may_follow(_JOB_ORDER, now, then)


def batch_may_become(now: str, then: str) -> bool:
    """Whether a batch in state `now` may move to `then`."""
    return may_follow(_BATCH_ORDER, now, then)


def unit_may_become(now: str, then: str) -> bool:
    """Whether an attempt in state `now` may move to `then`."""
    return may_follow(_UNIT_ORDER, now, then)


def job_state(now: JobState, batch_states: Iterable[BatchState], counts: Counts, *, staged: bool) -> JobState:
    """The state that a job's batches and units say it is in, never behind `now`.

    A job is final when every batch is and no unit can still get an outcome.
    """
    if now in FINAL_JOB_STATES:
        return now
    states = set(batch_states)
    derived: JobState
    if states and states <= FINAL_BATCH_STATES:
        derived = "collecting" if counts.waiting or counts.running else _outcome(counts)
    elif states & {"running", "ended"} or counts.running:
        derived = "running"
    elif states & {"queued"}:
        derived = "queued"
    elif staged or states & {"launching"}:
        derived = "staging"
    else:
        derived = "accepted"
    return derived if job_may_become(now, derived) else now


def _outcome(counts: Counts) -> JobState:
    if counts.cancelled:
        return "cancelled"
    return "failed" if counts.failed or counts.lost else "succeeded"


def job_reason(state: JobState, counts: Counts, texts: Iterable[str], cancelled_by: str | None) -> Reason | None:
    """Why a job ended as it did, from the reasons of its units (`texts`, one for each that did not succeed)."""
    if state == "cancelled":
        done = counts.succeeded + counts.failed
        words = f"cancelled by {cancelled_by}" if cancelled_by else _most(texts) or "cancelled"
        return Reason(code="cancelled", text=f"{words}; {done} units had ended before")
    if state != "failed":
        return None
    total = sum(vars_of(counts).values())
    text = f"{counts.failed + counts.lost} of {total} units did not succeed: {_most(texts)}"
    return Reason(code="units_failed", text=text)


def _most(texts: Iterable[str]) -> str:
    most = Counter(texts).most_common(3)
    return "; ".join(f"{text} ({count} units)" if count > 1 else text for text, count in most)


def vars_of(counts: Counts) -> dict[str, int]:
    """The counts by state."""
    return {name: getattr(counts, name) for name in counts.__struct_fields__}


__all__ = [
    "BATCH_STATES",
    "FINAL_BATCH_STATES",
    "FINAL_JOB_STATES",
    "FINAL_UNIT_STATES",
    "batch_may_become",
    "job_may_become",
    "job_reason",
    "job_state",
    "unit_may_become",
]
