"""The queue of one resource's cluster, looked at once per interval whatever the number of jobs, users and profiles.

A cluster that hides jobs from other users is looked at once per interval and profile, as the profile's user.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

from services.poller.cluster.habits import ClusterHabits
from services.poller.cluster.scheduler_calls import SchedulerCalls
from services.poller.cluster.viewpoint import QueueLook, Viewpoint, ordered, position
from services.poller.health import HealthBook
from services.poller.publisher import Publisher
from services.poller.sightings import Sightings
from shared.service.connections import Connections
from shared.service.logs import get_logger
from shared.service.waiting import set_within
from shared.slurm.answers.digests import digests_of
from shared.slurm.answers.native_ids import array_job
from shared.slurm.answers.queue import Queue, QueueRow
from stoker.contracts.watches import WatchedBatch, WatchedProfile
from stoker.errors import StokerError

_ALL = ""
"""The viewpoint of whoever may see the jobs of all."""
_AFTER_FAULT_SECONDS = 5.0
_SHORTEST_SECONDS = 0.01
log = get_logger()


class ClusterWatch:
    """Notes what it sees in `sightings`, and calls `seen(batch ids, is any of it new)` after each look."""

    def __init__(
        self,
        *,
        connections: Connections,
        calls: SchedulerCalls,
        sightings: Sightings,
        health: HealthBook,
        publisher: Publisher,
        seen: Callable[[Collection[str], bool], Awaitable[None]],
    ) -> None:
        self._connections = connections
        self._calls = calls
        self._sightings = sightings
        self._health = health
        self._publisher = publisher
        self._seen = seen
        self._profiles: dict[str, list[WatchedBatch]] = {}
        self._jobs_roots: dict[str, str] = {}
        self._interval_seconds = 0.0
        self._changed = asyncio.Event()
        self._views: dict[str, Viewpoint] = {}
        self._habits = ClusterHabits(connections, calls)
        self._asker = ""

    @property
    def wanted(self) -> bool:
        """Whether there is a batch to look for."""
        return bool(self._profiles)

    @property
    def error(self) -> str | None:
        """Why the last look failed, as far as one did."""
        errors = (self._habits.error, *(view.error for view in self._views.values()))
        return next((error for error in errors if error is not None), None)

    @property
    def last(self) -> QueueLook | None:
        """What was seen last, from all viewpoints; as old as the oldest of them."""
        looks = [view.last for view in self._views.values() if view.last is not None]
        if len(looks) <= 1:
            return looks[0] if looks else None
        rows: dict[tuple[int, int], QueueRow] = {position(row): row for look in looks for row in look.rows}
        return QueueLook(min(look.at for look in looks), [rows[key] for key in sorted(rows)])

    def update(self, profiles: Iterable[WatchedProfile], interval_seconds: float) -> None:
        """Take over what the watch list says."""
        self._profiles, self._jobs_roots = {}, {}
        for profile in profiles:
            launched = [batch for batch in profile.batches if array_job(batch.native_id) is not None]
            if profile.scheduler and launched:
                self._profiles.setdefault(profile.profile_id, []).extend(launched)
                self._jobs_roots.setdefault(profile.profile_id, profile.jobs_root)
        self._interval_seconds = interval_seconds
        self._changed.set()

    async def run(self) -> None:
        """Look for ever, while there is something to look for."""
        while True:
            self._changed.clear()
            if not self._profiles:
                await self._changed.wait()
                continue
            try:
                await self._look_where_due()
            except Exception:
                log.exception("looking at a queue failed")
                await asyncio.sleep(_AFTER_FAULT_SECONDS)
            next_at = min(self._habits.next_at, *(view.next_at for view in self._views.values()), math.inf)
            await set_within(self._changed, max(next_at - time.monotonic(), _SHORTEST_SECONDS))

    async def _look_where_due(self) -> None:
        asker = self._chosen()
        await self._habits.learn(asker, self._jobs_roots[asker])
        if self._habits.error is not None:
            await self._note_failure(_ALL, asker, self._habits.error)
        if self._habits.hides_jobs is None or not self._profiles:
            return
        wanted = list(self._profiles) if self._habits.hides_jobs else [_ALL]
        self._views = {name: self._views.get(name) or Viewpoint() for name in wanted}
        now = time.monotonic()
        await asyncio.gather(*(self._look(name, view) for name, view in self._views.items() if view.next_at <= now))

    async def _look(self, name: str, view: Viewpoint) -> None:
        asker = name or self._chosen()
        if asker not in self._profiles:
            return
        view.begins(self._interval_seconds)
        at = time.time()
        jobs_root = self._jobs_roots[asker]
        listed = {(batch.batch_id, batch.native_id) for batch in self._batches(name)}
        try:
            connection = await self._connections.current(asker)
            queue = await self._calls.queue(connection, jobs_root, as_user=name != _ALL)
        except StokerError as error:
            view.failed(error.message)
            await self._note_failure(name, asker, error.message)
            return
        self._asker = asker
        await self._saw(name, view, listed, at, queue)

    async def _saw(self, name: str, view: Viewpoint, listed: set[tuple[str, str]], at: float, queue: Queue) -> None:
        view.last = QueueLook(at, await asyncio.to_thread(ordered, queue))
        view.worked()
        digests = await asyncio.to_thread(digests_of, queue, [native_id for _, native_id in listed])
        # Only what was listed before the look began: a launch may be younger than what was seen.
        batches = self._still(name, listed)
        news = [self._sightings.note_scheduler(batch, digests[batch.native_id], at) for batch in batches]
        await self._tell_health(name, None)
        await self._seen([batch.batch_id for batch in batches], any(news))

    async def _note_failure(self, name: str, asker: str, error: str) -> None:
        self._connections.doubt(asker)
        if name == _ALL:
            # It may be this profile's way that is broken: another one asks the next time.
            self._asker = self._after(asker)
        # What was seen before is not what is now.
        for batch in self._batches(name):
            self._sightings.note_scheduler(batch, "", time.time())
        await self._tell_health(name, error)

    async def _tell_health(self, name: str, error: str | None) -> None:
        for profile_id in [name] if name else list(self._profiles):
            changed = self._health.scheduler(profile_id, error)
            if changed and (health := self._health.of(profile_id)) is not None:
                await self._publisher.health(health)

    def _still(self, name: str, listed: set[tuple[str, str]]) -> list[WatchedBatch]:
        return [batch for batch in self._batches(name) if (batch.batch_id, batch.native_id) in listed]

    def _batches(self, name: str) -> list[WatchedBatch]:
        if name:
            return self._profiles.get(name, [])
        return [batch for batches in self._profiles.values() for batch in batches]

    def _chosen(self) -> str:
        return self._asker if self._asker in self._profiles else min(self._profiles, default="")

    def _after(self, asker: str) -> str:
        names = sorted(self._profiles)
        return next((name for name in names if name > asker), names[0] if names else "")
