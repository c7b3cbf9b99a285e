"""A cluster's queue, as the poller saw it when it last looked."""

from datetime import datetime

import msgspec


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the queue.

    `native_id` names one launch (`4711_3`, `4711`) or several that wait together (`4711_[5-9]`, `launches` of them).
    `waits`: it has not started (again); then `reason` says why in words, and `starts_at` is SLURM's estimate. `user`,
    `account` and `name` are None where they are other people's. `cpus` and `memory` (as SLURM writes it) are those of
    one launch.
    """

    native_id: str
    launches: int
    state: str
    waits: bool
    reason: str
    partition: str
    nodes: str
    cpus: int | None = None
    memory: str = ""
    gres: str = ""
    submitted_at: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    user: str | None = None
    account: str | None = None
    name: str | None = None


class ClusterQueue(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/queues/{resource_id}` of the poller: up to `limit` entries of the last look.

    `looked_at` is when it was begun. `watched` is false when nobody looks any more, because no batch is watched
    there. `scheduler_error` says why later looks failed. `count` is the number of entries of all pages.
    """

    resource_id: str
    looked_at: datetime
    age_seconds: float
    watched: bool
    scheduler_error: str | None = None
    count: int
    items: list[QueueEntry]
    next_cursor: str | None = None
