"""Job events, as `GET /v1/events` streams them (Server-Sent Events whose id is the stream position)."""

from datetime import datetime
from typing import Literal

import msgspec

from stoker.contracts.jobs import Counts, JobState, Reason

MAX_FAILED_UNITS_PER_EVENT = 50


class FailedUnit(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that ended other than `succeeded`."""

    index: int
    state: str
    reason: Reason | None = None


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`sequence` counts the events of one job from 1 without a gap; `position` is the place in the whole stream.

    `job_state`: the job moved to `state`. `job_progress`: counts changed; `failed_units` lists the units that failed
    since the last event, at most MAX_FAILED_UNITS_PER_EVENT of them (`failed_units_left_out` counts the rest).
    """

    position: int
    job_id: str
    sequence: int
    type: Literal["job_state", "job_progress"]
    state: JobState
    counts: Counts
    at: datetime
    reason: Reason | None = None
    failed_units: list[FailedUnit] = []
    failed_units_left_out: int = 0
