"""Everything that is done for one resource: under its lease, at once when something moves, and every interval.

What followers see of single profiles' files and what the cluster's queue shows end in the same sightings.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from services.poller.cluster.watch import ClusterWatch
from services.poller.follower import ProfileFollower
from services.poller.health import HealthBook
from services.poller.lease import ResourceLease
from services.poller.metrics import PollerMetrics
from services.poller.publisher import Publisher
from services.poller.sightings import Sighting, Sightings, differs, files_differ, observation
from services.poller.watch_list import WatchListSource
from shared.service.logs import get_logger
from shared.service.waiting import cancelled, first_to_end, set_within
from stoker.contracts.watches import WatchedBatch, WatchedProfile

MIN_INTERVAL_SECONDS = 0.25
"""What a poll interval of 0 means: four rounds a second, as often as files are looked at."""
# What moves within this time goes into one message.
_GATHER_SECONDS = 0.02
_AFTER_FAULT_SECONDS = 1.0
log = get_logger()

Seat = tuple[str, str, bool]
"""A profile, the jobs root that its batches were accepted with, and whether they change environments."""


class ResourceWatch:
    """Works while the watch list names the resource and the lease is ours; `run` never ends by itself."""

    def __init__(
        self,
        *,
        resource_id: str,
        lease: ResourceLease,
        source: WatchListSource,
        health: HealthBook,
        publisher: Publisher,
        metrics: PollerMetrics,
        new_follower: Callable[[Seat, Sightings, Callable[[str], None]], ProfileFollower],
        new_cluster: Callable[[Sightings, Callable[[Collection[str], bool], Awaitable[None]]], ClusterWatch],
    ) -> None:
        self.resource_id = resource_id
        self.lease = lease
        self.profiles: dict[Seat, WatchedProfile] = {}
        self.sightings = Sightings()
        self.cluster = new_cluster(self.sightings, self._queue_seen)
        self._source = source
        self._health = health
        self._publisher = publisher
        self._metrics = metrics
        self._new_follower = new_follower
        self._followers: dict[Seat, ProfileFollower] = {}
        self._tasks: dict[Seat, asyncio.Task[None]] = {}
        self._moved: set[str] = set()
        self._something_moved = asyncio.Event()
        self._round_wanted = asyncio.Event()
        self._listed = asyncio.Event()
        self._list_changed = asyncio.Event()
        self._unlisted = asyncio.Event()

    @property
    def interval_seconds(self) -> float:
        """Seconds between two rounds."""
        wanted = [profile.poll_interval_seconds for profile in self.profiles.values()]
        return max(min(wanted, default=MIN_INTERVAL_SECONDS), MIN_INTERVAL_SECONDS)

    @property
    def working(self) -> bool:
        """Whether this poller looks after the resource now."""
        return bool(self.profiles) and self.lease.valid

    def update(self, profiles: Sequence[WatchedProfile]) -> None:
        """Take over what the watch list says; an empty list lets the resource go."""
        watched = dict.fromkeys((profile_id for profile_id, *_ in self.profiles), 0)
        self.profiles = {
            (profile.profile_id, profile.jobs_root, profile.for_activities): profile for profile in profiles
        }
        self.sightings.keep_only(self._batches())
        for profile in profiles:
            watched[profile.profile_id] = watched.get(profile.profile_id, 0) + len(profile.batches)
        for profile_id, batch_count in watched.items():
            self._health.watches(profile_id, batch_count)
        self.cluster.update(profiles, self.interval_seconds)
        self._list_changed.set()
        (now, no_longer) = (self._listed, self._unlisted) if profiles else (self._unlisted, self._listed)
        now.set()
        no_longer.clear()

    def look_now(self) -> None:
        """Redis is back: see whether the lease is still ours, and say again what the executor may have missed."""
        self.lease.look_now()
        self._round_wanted.set()

    async def run(self) -> None:
        """Work whenever there is something to watch and nobody else does."""
        while True:
            try:
                await self._listed.wait()
                await first_to_end(self.lease.acquire(), self._until_unlisted())
                if self.working:
                    await first_to_end(
                        self.lease.keep(),
                        self._until_unlisted(),
                        self._follow_profiles(),
                        self._publish_moves(),
                        self._come_round(),
                        self.cluster.run(),
                    )
            except Exception:
                log.exception("watching a resource failed", resource_id=self.resource_id)
                await asyncio.sleep(_AFTER_FAULT_SECONDS)
            finally:
                await self.lease.release()

    async def _until_unlisted(self) -> None:
        await self._unlisted.wait()

    async def _follow_profiles(self) -> None:
        try:
            while True:
                self._list_changed.clear()
                await self._start_and_stop_followers()
                await self._list_changed.wait()
        finally:
            await cancelled(list(self._tasks.values()))
            self._tasks.clear()
            self._followers.clear()

    async def _start_and_stop_followers(self) -> None:
        for gone in self._followers.keys() - self.profiles.keys():
            del self._followers[gone]
            await cancelled([self._tasks.pop(gone)])
        for seat, profile in self.profiles.items():
            if seat not in self._followers:
                follower = self._new_follower(seat, self.sightings, self._note_move)
                self._followers[seat] = follower
                follower.follow(profile.batches)
                self._tasks[seat] = asyncio.create_task(follower.run())
            else:
                self._followers[seat].follow(profile.batches)

    def _note_move(self, batch_id: str) -> None:
        self._moved.add(batch_id)
        self._something_moved.set()

    async def _publish_moves(self) -> None:
        while True:
            await self._something_moved.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._something_moved.clear()
            moved, self._moved = self._moved, set()
            await self._publish(self._differing(batch for batch in self._batches() if batch.batch_id in moved))

    async def _queue_seen(self, seen: Collection[str], news: bool) -> None:  # noqa: FBT001 - a callback's form
        """Tell what a look at the queue showed of these batches; without news, what the executor still ignores."""
        if not news and any(self._differing(batch for batch in self._batches() if batch.batch_id in seen)):
            await self._ask_before_repeating()
        for batch_id in seen:
            self._note_move(batch_id)

    async def _come_round(self) -> None:
        while True:
            asked_for = await set_within(self._round_wanted, self.interval_seconds)
            self._metrics.rounds.inc()
            # What the queue shows is told again with every look at it, which may be less often.
            await self._round(differs if asked_for else files_differ)

    async def _round(self, tells: Callable[[WatchedBatch, Sighting], bool]) -> None:
        for follower in list(self._followers.values()):
            await follower.still_looking()
        if any(self._differing(self._batches(), tells)):
            await self._ask_before_repeating()
            await self._publish(self._differing(self._batches(), tells))
        for profile_id in {profile_id for profile_id, *_ in self.profiles}:
            health = self._health.of(profile_id)
            if health is not None and (not health.reachable or health.scheduler_error is not None):
                await self._publisher.health(health)

    async def _ask_before_repeating(self) -> None:
        """Have a fresh list: the executor may know by now what is about to be said once more."""
        await self._source.fresh(max_age_seconds=self.interval_seconds / 2)

    async def _publish(self, found: Iterable[tuple[WatchedBatch, Sighting]]) -> None:
        observations = [observation(self.resource_id, batch, seen) for batch, seen in found]
        if observations and self.lease.valid:
            await self._publisher.observations(observations)

    def _batches(self) -> Iterable[WatchedBatch]:
        return (batch for profile in self.profiles.values() for batch in profile.batches)

    def _differing(
        self, batches: Iterable[WatchedBatch], tells: Callable[[WatchedBatch, Sighting], bool] = differs
    ) -> Iterable[tuple[WatchedBatch, Sighting]]:
        for batch in batches:
            seen = self.sightings.of(batch)
            if seen is not None and tells(batch, seen):
                yield batch, seen
