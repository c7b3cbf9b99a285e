"""From what the poller holds to what its HTTP interface shows."""

from datetime import UTC, datetime

from services.poller.resource_watch import ResourceWatch
from services.poller.sightings import Sighting, differs
from stoker.contracts.watches import (
    MAX_BATCHES_PER_WATCH,
    BatchWatch,
    ProfileWatch,
    ResourceHealth,
    WatchedBatch,
    WatchedProfile,
)


def profile_watch(
    resource: ResourceWatch, profile: WatchedProfile, *, since: datetime, health: ResourceHealth | None
) -> ProfileWatch:
    """Describe one profile of a resource."""
    shown = profile.batches[:MAX_BATCHES_PER_WATCH]
    return ProfileWatch(
        profile_id=profile.profile_id,
        resource_id=resource.resource_id,
        since=since,
        working=resource.working,
        detail=resource.lease.detail,
        poll_interval_seconds=resource.interval_seconds,
        health=health,
        batch_count=len(profile.batches),
        batches=[_batch_watch(batch, resource.sightings.of(batch)) for batch in shown],
    )


def _batch_watch(batch: WatchedBatch, seen: Sighting | None) -> BatchWatch:
    if seen is None:
        return BatchWatch(batch_id=batch.batch_id, job_id=batch.job_id, native_id=batch.native_id)
    return BatchWatch(
        batch_id=batch.batch_id,
        job_id=batch.job_id,
        native_id=batch.native_id,
        last_moved_at=datetime.fromtimestamp(seen.at, UTC),
        events_length=seen.events_length,
        results_length=seen.results_length,
        ended=seen.ended,
        alive=seen.alive,
        differs=differs(batch, seen),
        scheduler=seen.scheduler or None,
    )
