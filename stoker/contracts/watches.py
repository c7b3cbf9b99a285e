"""Between executor and poller: what to watch, and what was seen.

The executor's list says what it knows; the poller publishes what differs from that, again and again, until the list
shows it. A lost message therefore costs time and nothing else.
"""

from datetime import datetime

import msgspec

from stoker.contracts.resources import ResourceType


class WatchedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch that has been launched and has not ended, with what the executor has read of it so far."""

    batch_id: str
    job_id: str
    folder: str
    """The batch folder, relative to the jobs root of the profile."""
    native_id: str
    state: str
    events_offset: int = 0
    results_offset: int = 0
    scheduler: str = ""
    """What the executor knows of the scheduler's word, as its digests write it; empty: nobody looked."""


class WatchedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The batches that are seen through one profile's connection."""

    profile_id: str
    resource_id: str
    jobs_root: str
    """The folder that the batches' folders are relative to: as it was when their jobs were accepted."""
    poll_interval_seconds: float
    batches: list[WatchedBatch]
    resource_type: ResourceType = "local"
    scheduler: bool = False
    """Whether batches were launched by a scheduler, whose queue is then looked at too. Those with a `native_id` that
    is none of the scheduler's were not."""
    for_activities: bool = False
    """Whether they change environments, and are reached where and as whom that is done (`shared.pipes.own_place`)."""


class WatchList(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/watch-list` of the executor (service key)."""

    profiles: list[WatchedProfile]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What the poller saw of one batch that differs from what the watch list says.

    `alive` is about local runners: whether the launch named by `native_id` still holds its lock (None: no evidence).
    `scheduler_state` is SLURM's word for it (None: not asked, or absent), `scheduler` the digest of the last look at
    the queue (`STATE|Reason|start`, or `absent`; None: not looked, or the look failed). Never a verdict: the executor
    reads the evidence itself. A digest that can only be followed by an end is told again with every look.
    """

    batch_id: str
    job_id: str
    resource_id: str
    native_id: str
    observed_at: float
    events_length: int | None = None
    results_length: int | None = None
    ended: bool = False
    alive: bool | None = None
    scheduler_state: str | None = None
    scheduler: str | None = None


class Observations(msgspec.Struct, frozen=True, kw_only=True):
    """One message on the channel `stoker:observations`."""

    poller_id: str
    observations: list[Observation]


class ResourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How one profile's connection is doing, as the poller sees it.

    `reachable` is about the agent. `scheduler_since` is since when the scheduler answers, or does not because of
    `scheduler_error` (None: it has not been asked). Work goes on while it does not answer, and files are followed.
    """

    profile_id: str
    resource_id: str
    reachable: bool
    since: float
    """Since when it has been so (epoch seconds)."""
    last_look_at: float | None = None
    error: str | None = None
    watched_batches: int = 0
    scheduler_error: str | None = None
    scheduler_since: float | None = None


OBSERVATIONS_CHANNEL = "stoker:observations"
"""Poller to executor (`Observations`), and to whoever listens."""
WATCHES_CHANNEL = "stoker:watches"
"""Executor to poller: the watch list changed (empty hint)."""
EVENTS_CHANNEL = "stoker:events"
"""Executor to whoever listens: one `JobEvent` a message, after its commit; the stream of record is `/v1/events`."""
HEALTH_CHANNEL = "stoker:health"
"""Poller to whoever listens: a `ResourceHealth` whenever reachability changes, and every interval while it is bad."""


class BatchWatch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch as the poller sees it; `differs`: the executor's list does not show all of it yet."""

    batch_id: str
    job_id: str
    native_id: str
    last_moved_at: datetime | None = None
    events_length: int | None = None
    results_length: int | None = None
    ended: bool = False
    alive: bool | None = None
    differs: bool = False
    scheduler: str | None = None


class ProfileWatch(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched through one profile. `working` is false while another poller does it, or Redis is away."""

    profile_id: str
    resource_id: str
    since: datetime
    working: bool
    detail: str = ""
    poll_interval_seconds: float
    health: ResourceHealth | None = None
    batch_count: int
    batches: list[BatchWatch]
    """At most MAX_BATCHES_PER_WATCH of them."""


class Watches(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/watches` of the poller.

    `list_at` is when the executor last gave its list, `list_error` why it has not since.
    """

    poller_id: str
    started_at: datetime
    list_at: datetime | None = None
    list_error: str | None = None
    profiles: list[ProfileWatch]


MAX_BATCHES_PER_WATCH = 1000
