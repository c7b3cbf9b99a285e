"""A cluster's queue for those who ask over HTTP: what the last look showed, never a call of its own."""

import time
from bisect import bisect_right
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from services.poller.cluster.queue_rows import queue_entry
from services.poller.cluster.viewpoint import position
from services.poller.resource_watch import ResourceWatch
from services.poller.watcher import Watcher
from shared.service.connections import Connections
from shared.service.web.cursors import encode_cursor
from stoker.contracts.keys import Caller
from stoker.contracts.profiles import LocalProfileSpec
from stoker.contracts.queues import ClusterQueue
from stoker.errors import NotFound, Unavailable

_AGAIN_SECONDS = 2.0
_Number = Annotated[int, Meta(ge=-1, le=10**13)]


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended."""

    job: _Number
    task: _Number


class Queues:
    """Who may see which queue, and how much of it."""

    def __init__(self, watcher: Watcher, connections: Connections) -> None:
        self._watcher = watcher
        self._connections = connections

    async def page(self, caller: Caller, resource_id: str, *, after: Position | None, limit: int) -> ClusterQueue:
        """Return entries of the queue that the poller saw last.

        Administrators and services see all; a user with a profile on the resource sees all rows, and of the jobs of
        that profile's UNIX user also whose they are. Raises NotFound where nobody has looked, or for a user without a
        profile there; Unavailable while the first look has not succeeded.
        """
        usernames = None if caller.role in ("admin", "service") else await self._usernames(caller, resource_id)
        resource = self._watcher.resource(resource_id)
        if usernames == frozenset() or resource is None:
            raise NotFound(
                f"no queue of a resource {resource_id!r} is known: the poller looks only while a SLURM job runs there"
            )
        look = resource.cluster.last
        if look is None:
            raise _why_not(resource)
        begin = 0 if after is None else bisect_right(look.rows, (after.job, after.task), key=position)
        shown = look.rows[begin : begin + limit]
        more = begin + len(shown) < len(look.rows)
        return ClusterQueue(
            resource_id=resource_id,
            looked_at=datetime.fromtimestamp(look.at, UTC),
            age_seconds=max(0.0, round(time.time() - look.at, 3)),
            watched=resource.working and resource.cluster.wanted,
            scheduler_error=resource.cluster.error,
            count=len(look.rows),
            items=[queue_entry(row, usernames=usernames) for row in shown],
            next_cursor=encode_cursor(position(shown[-1])) if more and shown else None,
        )

    async def _usernames(self, caller: Caller, resource_id: str) -> frozenset[str]:
        """Return the UNIX users of the caller's profiles on this resource."""
        found = set()
        for profile_id in caller.profile_ids:
            try:
                connection = await self._connections.current(profile_id)
            except NotFound:
                continue
            spec = connection.profile.spec
            if connection.resource.id == resource_id and not isinstance(spec, LocalProfileSpec):
                found.add(spec.username)
        return frozenset(found)


def _why_not(resource: ResourceWatch) -> NotFound | Unavailable:
    if not resource.cluster.wanted:
        return NotFound("no queue is known: the poller looks only while a SLURM job runs there")
    if not resource.working:
        return Unavailable(f"this poller does not look: {resource.lease.detail}", retry_after_seconds=_AGAIN_SECONDS)
    why = resource.cluster.error or "the first look is under way"
    return Unavailable(f"the queue has not been seen yet: {why}", retry_after_seconds=_AGAIN_SECONDS)
