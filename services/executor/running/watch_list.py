"""What the poller is asked to watch: every batch that was launched and has not ended, with what is known of it."""

from functools import lru_cache

import msgspec
from msgspec import UNSET

from services.executor.repositories.batches import launched_batches
from services.executor.repositories.rows import LaunchedBatch
from shared.pipes import JOBS, roots_of
from shared.service.database.transactions import Database
from stoker.contracts.holds import Connection
from stoker.contracts.resources import ResourceType
from stoker.contracts.watches import WatchedBatch, WatchedProfile, WatchList

_DEFAULT_POLL_INTERVAL_SECONDS = 5.0


class _Place(msgspec.Struct, frozen=True):
    jobs_root: str
    poll_interval_seconds: float
    resource_type: ResourceType


async def watch_list(database: Database) -> WatchList:
    """The batches to watch, one entry for each profile, root folder and way to reach it."""
    async with database.read() as connection:
        rows = await launched_batches(connection)
    grouped: dict[tuple[str, str, bool], WatchedProfile] = {}
    for row in rows:
        place = _place(row.snapshot)
        for_activities = row.kind == "activity"
        key = (row.profile_id, place.jobs_root, for_activities)
        profile = grouped.setdefault(
            key,
            WatchedProfile(
                profile_id=row.profile_id,
                resource_id=row.resource_id,
                jobs_root=place.jobs_root,
                poll_interval_seconds=place.poll_interval_seconds,
                resource_type=place.resource_type,
                for_activities=for_activities,
                batches=[],
            ),
        )
        profile.batches.append(_watched(row))
        if row.placement == "slurm":
            grouped[key] = msgspec.structs.replace(profile, scheduler=True)
    return WatchList(profiles=list(grouped.values()))


@lru_cache(maxsize=1024)
def _place(snapshot: str) -> _Place:
    connection = msgspec.json.decode(snapshot, type=Connection)
    interval = connection.resource.spec.jobs_poll_interval
    seconds = _DEFAULT_POLL_INTERVAL_SECONDS if interval is UNSET else float(interval)
    return _Place(roots_of(connection)[JOBS], seconds, connection.resource.type)


def _watched(row: LaunchedBatch) -> WatchedBatch:
    return WatchedBatch(
        batch_id=row.id,
        job_id=row.job_id,
        folder=f"{row.folder}/batches/{row.batch_index:05d}",
        native_id=row.native_id,
        state=row.state,
        events_offset=row.events_offset,
        results_offset=row.results_offset,
        scheduler=row.scheduler or "",
    )
