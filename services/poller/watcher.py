"""The poller as a whole: the watch list, the hints, and one watch per resource."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from services.poller.cluster.scheduler_calls import SchedulerCalls
from services.poller.cluster.watch import ClusterWatch
from services.poller.follower import ProfileFollower
from services.poller.health import HealthBook
from services.poller.lease import ResourceLease
from services.poller.metrics import PollerMetrics
from services.poller.publisher import Publisher
from services.poller.resource_watch import ResourceWatch, Seat
from services.poller.sightings import Sightings
from services.poller.views import profile_watch
from services.poller.watch_list import GivesWatchList, WatchListSource
from shared.pipes import AgentPool
from shared.service.bus import LONGEST_DELAY_SECONDS, RECONNECTED, Bus
from shared.service.connections import Connections
from shared.service.logs import get_logger
from shared.service.settings import RECONNECT_SECONDS
from shared.service.waiting import cancelled
from stoker.backoff import Pauses
from stoker.contracts.watches import WATCHES_CHANNEL, WatchedProfile, Watches, WatchList

# Attempts to connect are at most so far apart; the rest is for connecting itself.
_ALL_ARE_BACK_SECONDS = LONGEST_DELAY_SECONDS + 1.0
log = get_logger()


class Watcher:
    """Works while its context `running` is entered. `poller_id` is unique to this process: it holds the leases."""

    def __init__(
        self,
        *,
        poller_id: str,
        executor: GivesWatchList,
        connections: Connections,
        agents: AgentPool,
        bus: Bus,
        metrics: PollerMetrics,
        watch_list_seconds: float,
        lease_seconds: float,
        reconnect_seconds: float = RECONNECT_SECONDS,
    ) -> None:
        self.health = HealthBook()
        self._poller_id = poller_id
        self._connections = connections
        self._agents = agents
        self._bus = bus
        self._metrics = metrics
        self._lease_seconds = lease_seconds
        self._reconnect_seconds = reconnect_seconds
        self._started_at = datetime.now(UTC)
        self._publisher = Publisher(bus, poller_id=poller_id, metrics=metrics)
        self._source = WatchListSource(
            executor, metrics=metrics, every_seconds=watch_list_seconds, on_list=self._apply
        )
        self._resources: dict[str, ResourceWatch] = {}
        self._since: dict[str, datetime] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Watch until the context is left; leases are given up then."""
        self._start(self._for_ever(self._source.run))
        self._start(self._for_ever(self._listen))
        try:
            yield
        finally:
            await cancelled(self._tasks)
            self._tasks.clear()

    def resource(self, resource_id: str) -> ResourceWatch | None:
        """Return the watch of a resource that is watched now, or was before."""
        return self._resources.get(resource_id)

    def describe(self) -> Watches:
        """Say what is watched, since when, and how it goes."""
        received_at = self._source.received_at
        return Watches(
            poller_id=self._poller_id,
            started_at=self._started_at,
            list_at=None if received_at is None else datetime.fromtimestamp(received_at, UTC),
            list_error=self._source.error,
            profiles=[
                profile_watch(resource, profile, since=self._since[profile_id], health=self.health.of(profile_id))
                for resource in self._resources.values()
                for (profile_id, *_), profile in resource.profiles.items()
            ],
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _apply(self, found: WatchList) -> None:
        by_resource: defaultdict[str, list[WatchedProfile]] = defaultdict(list)
        for profile in found.profiles:
            if profile.batches:
                by_resource[profile.resource_id].append(profile)
        now = datetime.now(UTC)
        listed = [profile.profile_id for profiles in by_resource.values() for profile in profiles]
        self._since = {profile_id: self._since.get(profile_id, now) for profile_id in listed}
        for resource_id in by_resource.keys() - self._resources.keys():
            self._resources[resource_id] = resource = self._new_resource(resource_id)
            self._start(resource.run())
        for resource_id, resource in self._resources.items():
            resource.update(by_resource.get(resource_id, ()))

    def _new_resource(self, resource_id: str) -> ResourceWatch:
        def new_follower(seat: Seat, sightings: Sightings, moved: Callable[[str], None]) -> ProfileFollower:
            return ProfileFollower(
                profile_id=seat[0],
                resource_id=resource_id,
                jobs_root=seat[1],
                for_activities=seat[2],
                connections=self._connections,
                agents=self._agents,
                sightings=sightings,
                health=self.health,
                publisher=self._publisher,
                metrics=self._metrics,
                moved=moved,
                reconnect_seconds=self._reconnect_seconds,
            )

        def new_cluster(
            sightings: Sightings, seen: Callable[[Collection[str], bool], Awaitable[None]]
        ) -> ClusterWatch:
            return ClusterWatch(
                connections=self._connections,
                calls=SchedulerCalls(self._agents, self._metrics),
                sightings=sightings,
                health=self.health,
                publisher=self._publisher,
                seen=seen,
            )

        return ResourceWatch(
            resource_id=resource_id,
            lease=ResourceLease(
                self._bus, resource_id=resource_id, holder=self._poller_id, seconds=self._lease_seconds
            ),
            source=self._source,
            health=self.health,
            publisher=self._publisher,
            metrics=self._metrics,
            new_follower=new_follower,
            new_cluster=new_cluster,
        )

    async def _listen(self) -> None:
        async with self._bus.subscribe(WATCHES_CHANNEL) as messages:
            async for channel, _ in messages:
                if channel == RECONNECTED:
                    self._bus_is_back()
                    # Those who listen may come back later than we do, and miss what is said now.
                    asyncio.get_running_loop().call_later(_ALL_ARE_BACK_SECONDS, self._bus_is_back)
                self._source.hint()

    def _bus_is_back(self) -> None:
        for resource in self._resources.values():
            resource.look_now()

    async def _for_ever(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        pauses = Pauses()
        while True:
            try:
                await work()
            except Exception:
                log.exception("a part of the poller failed and is begun again")
            await asyncio.sleep(pauses.next())
