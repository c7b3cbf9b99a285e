"""Following the files of one profile's batches over its pipe, for as long as they are on the watch list."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from services.poller.health import HealthBook
from services.poller.metrics import PollerMetrics
from services.poller.publisher import Publisher
from services.poller.sightings import Sightings
from shared.pipes import JOBS, AgentConnection, AgentPool, FollowSeen, FollowTarget, place_of_activities
from shared.service.connections import Connections
from shared.service.logs import get_logger
from shared.service.waiting import first_to_end
from stoker.backoff import Pauses
from stoker.contracts.holds import Connection
from stoker.contracts.watches import WatchedBatch
from stoker.errors import StokerError, Unavailable

# A pipe that breaks sooner than this after it opened counts as one more failure: the pauses go on growing.
STEADY_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 15.0
# One request is one frame, which is limited to a megabyte.
MAX_TARGETS_PER_REQUEST = 2000
log = get_logger()


class ProfileFollower:
    """Notes what it sees in `sightings` and calls `moved(batch_id)`; reachability goes into `health`.

    A lost pipe ends nothing: it is opened again after a pause, and what was seen before stays known.
    """

    def __init__(
        self,
        *,
        profile_id: str,
        resource_id: str,
        jobs_root: str,
        for_activities: bool,
        connections: Connections,
        agents: AgentPool,
        sightings: Sightings,
        health: HealthBook,
        publisher: Publisher,
        metrics: PollerMetrics,
        moved: Callable[[str], None],
        reconnect_seconds: float,
    ) -> None:
        self._profile_id = profile_id
        self._resource_id = resource_id
        self._jobs_root = jobs_root
        self._for_activities = for_activities
        self._connections = connections
        self._agents = agents
        self._sightings = sightings
        self._health = health
        self._publisher = publisher
        self._metrics = metrics
        self._moved = moved
        self._longest_pause_seconds = min(_LONGEST_PAUSE_SECONDS, reconnect_seconds)
        self._batches: list[WatchedBatch] = []
        self._changed = asyncio.Event()
        self._agent: AgentConnection | None = None

    def follow(self, batches: Sequence[WatchedBatch]) -> None:
        """Follow these batches from now on. What only the executor's knowledge changed in needs no new request."""
        if [_launch(batch) for batch in batches] != [_launch(batch) for batch in self._batches]:
            self._changed.set()
        self._batches = list(batches)

    async def still_looking(self) -> None:
        """Note the time of the last look, while the pipe works."""
        if self._agent is not None and self._agent.lost is None:
            await self._looked()

    async def run(self) -> None:
        """Follow for ever, through any outage."""
        pauses = Pauses(longest_seconds=self._longest_pause_seconds)
        while True:
            begun = time.monotonic()
            try:
                await self._follow_until_changed()
                continue
            except StokerError as error:
                await self._failed(error.message)
            except Exception:
                log.exception("following failed", profile_id=self._profile_id)
                await self._failed("following its files failed; see the poller's log")
            finally:
                self._agent = None
            if time.monotonic() - begun > STEADY_SECONDS:
                pauses.reset()
            await asyncio.sleep(pauses.next())

    async def _follow_until_changed(self) -> None:
        """Return when there is another list of batches, or another way to the resource."""
        self._changed.clear()
        batches = self._batches
        connection = await self._connections.current(self._profile_id)
        place = place_of_activities(connection) if self._for_activities else connection
        agent = await self._agents.agent(place, {JOBS: self._jobs_root})
        async with AsyncExitStack() as requests:
            notes = []
            for start in range(0, len(batches), MAX_TARGETS_PER_REQUEST):
                part = batches[start : start + MAX_TARGETS_PER_REQUEST]
                seen = await requests.enter_async_context(agent.follow([self._target(batch) for batch in part]))
                self._metrics.follows.inc()
                notes.append(partial(self._note, seen, part))
            self._agent = agent
            await self._looked()
            await first_to_end(
                *(note() for note in notes), self._until_other_batches(), self._until_other_connection(connection)
            )

    def _target(self, batch: WatchedBatch) -> FollowTarget:
        seen = self._sightings.of(batch)
        return FollowTarget(
            root=JOBS,
            path=batch.folder,
            native_id=batch.native_id,
            events_length=_either(seen.events_length if seen else None, batch.events_offset),
            results_length=_either(seen.results_length if seen else None, batch.results_offset),
        )

    async def _note(self, seen: AsyncIterator[FollowSeen], batches: Sequence[WatchedBatch]) -> None:
        async for sighting in seen:
            batch = batches[sighting.target]
            self._metrics.sightings.inc()
            self._sightings.note(batch, sighting, time.time())
            self._moved(batch.batch_id)
        raise Unavailable("the agent stopped following")

    async def _until_other_batches(self) -> None:
        await self._changed.wait()

    async def _until_other_connection(self, used: Connection) -> None:
        while True:
            await asyncio.sleep(self._connections.fresh_seconds)
            try:
                current = await self._connections.current(self._profile_id)
            except StokerError:
                continue  # whatever the registry says now: a pipe that works is worth more
            if _versions(current) != _versions(used):
                return

    async def _looked(self) -> None:
        if self._health.looked(self._profile_id, self._resource_id):
            await self._publish_health()

    async def _failed(self, error: str) -> None:
        self._connections.doubt(self._profile_id)
        if self._health.failed(self._profile_id, self._resource_id, error):
            await self._publish_health()

    async def _publish_health(self) -> None:
        if (health := self._health.of(self._profile_id)) is not None:
            await self._publisher.health(health)


def _either(seen: int | None, known: int) -> int:
    return known if seen is None else seen


def _launch(batch: WatchedBatch) -> tuple[str, str, str]:
    return batch.batch_id, batch.folder, batch.native_id


def _versions(connection: Connection) -> tuple[str, int, str, int]:
    profile, resource = connection.profile, connection.resource
    return profile.id, profile.version, resource.id, resource.version
