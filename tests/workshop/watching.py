"""What a poller needs around it in tests: an executor with a list, a registry with a connection, ears on the bus."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from services.poller.metrics import PollerMetrics
from services.poller.watch_list import GivesWatchList
from services.poller.watcher import Watcher
from shared.pipes import JOBS, AgentPool, Place
from shared.service.bus import RECONNECTED, Bus
from shared.service.connections import Connections, KnowsConnections
from stoker.contracts.holds import Connection
from stoker.contracts.profiles import LocalProfileSpec, Profile
from stoker.contracts.resources import LocalResourceSpec, LocalRunnerConfig, PythonConfig, Resource
from stoker.contracts.watches import (
    HEALTH_CHANNEL,
    OBSERVATIONS_CHANNEL,
    Observation,
    Observations,
    ResourceHealth,
    WatchedBatch,
    WatchedProfile,
    WatchList,
)
from stoker.errors import NotFound, Unavailable

PROFILE_ID, RESOURCE_ID = "profile-1", "resource-1"
_NOW = datetime(2026, 11, 1, tzinfo=UTC)


def local_connection(jobs: Path, *, version: int = 1) -> Connection:
    """A local resource whose jobs root is `jobs`."""
    spec = LocalResourceSpec(
        name="here",
        jobs_local_dir=str(jobs),
        tasks_local_dir=str(jobs / "tasks"),
        tasks_python_config=PythonConfig(default_version="3.11", versions={"3.11": "/usr/bin/python3"}),
        jobs_runner_config=LocalRunnerConfig(),
    )
    times: dict[str, Any] = {"created_at": _NOW, "updated_at": _NOW, "version": version}
    return Connection(
        resource=Resource(id=RESOURCE_ID, name="here", type="local", spec=spec, **times),
        profile=Profile(
            id=PROFILE_ID,
            resource_id=RESOURCE_ID,
            name="me",
            resource_type="local",
            spec=LocalProfileSpec(name="me"),
            **times,
        ),
    )


class ListingExecutor:
    """Lists what a test put in; counts the requests; raises Unavailable while `away`."""

    def __init__(self, jobs_root: Path, *, interval_seconds: float = 0.0) -> None:
        self.batches: dict[str, WatchedBatch] = {}
        self.jobs_root = jobs_root
        self.interval_seconds = interval_seconds
        self.away = False
        self.requests = 0

    def lists(self, batch_id: str, folder: str, **more: Any) -> None:
        self.batches[batch_id] = WatchedBatch(
            **{"batch_id": batch_id, "job_id": "job", "folder": folder, "native_id": "", "state": "running", **more}
        )

    def learns(self, batch_id: str, *, events: int, results: int) -> None:
        known = self.batches[batch_id]
        self.batches[batch_id] = msgspec.structs.replace(known, events_offset=events, results_offset=results)

    async def watch_list(self) -> WatchList:
        self.requests += 1
        if self.away:
            raise Unavailable("the executor is away")
        profile = WatchedProfile(
            profile_id=PROFILE_ID,
            resource_id=RESOURCE_ID,
            jobs_root=str(self.jobs_root),
            poll_interval_seconds=self.interval_seconds,
            batches=list(self.batches.values()),
        )
        return WatchList(profiles=[profile])


class OneConnection:
    """A registry that knows one profile; raises Unavailable while `away`."""

    def __init__(self, connection: Connection) -> None:
        self.known = connection
        self.away = False
        self.requests = 0

    async def connection(self, profile_id: str) -> Connection:
        self.requests += 1
        if self.away:
            raise Unavailable("the registry is away")
        if profile_id != self.known.profile.id:
            raise NotFound("no such profile")
        return self.known


class Ears:
    """Everything that pollers published since the test began."""

    def __init__(self) -> None:
        self.messages: list[Observations] = []
        self.health: list[ResourceHealth] = []
        self.connected = asyncio.Event()

    def of(self, batch_id: str) -> list[Observation]:
        return [one for one in self.observations() if one.batch_id == batch_id]

    def observations(self) -> Iterator[Observation]:
        return (one for message in self.messages for one in message.observations)

    def ended(self, batch_id: str) -> bool:
        return any(one.ended for one in self.of(batch_id))


@asynccontextmanager
async def listening(redis_url: str) -> AsyncGenerator[Ears]:
    """Listen on the channels of the poller."""
    ears, bus = Ears(), Bus(redis_url)

    async def hear() -> None:
        async with bus.subscribe(OBSERVATIONS_CHANNEL, HEALTH_CHANNEL) as messages:
            async for channel, payload in messages:
                if channel == RECONNECTED:
                    ears.connected.set()
                elif channel == OBSERVATIONS_CHANNEL:
                    ears.messages.append(msgspec.json.decode(payload, type=Observations))
                else:
                    ears.health.append(msgspec.json.decode(payload, type=ResourceHealth))

    task = asyncio.create_task(hear())
    try:
        async with asyncio.timeout(120):
            await ears.connected.wait()
        yield ears
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()


class RunningPoller:
    """A watcher at work, with its metrics and its pool of agents."""

    def __init__(self, watcher: Watcher, metrics: PollerMetrics, agents: AgentPool) -> None:
        self.watcher = watcher
        self.agents = agents
        self._metrics = metrics

    def count(self, name: str) -> int:
        return int(self._metrics.registry.get_sample_value(f"stoker_poller_{name}_total") or 0)

    def scheduler_calls(self, resource_id: str, kind: str, outcome: str) -> int:
        labels = {"resource_id": resource_id, "kind": kind, "outcome": outcome}
        name = "stoker_poller_scheduler_calls_total"
        return int(self._metrics.registry.get_sample_value(name, labels) or 0)

    @property
    def working(self) -> bool:
        return any(profile.working for profile in self.watcher.describe().profiles)

    @property
    def health(self) -> ResourceHealth | None:
        return self.watcher.health.of(PROFILE_ID)


@asynccontextmanager
async def polling(
    redis_url: str,
    executor: GivesWatchList,
    registry: KnowsConnections,
    *,
    poller_id: str = "poller-1",
    agents: AgentPool | None = None,
    lease_seconds: float = 2.0,
    watch_list_seconds: float = 0.5,
    connection_seconds: float = 0.2,
) -> AsyncGenerator[RunningPoller]:
    """Run a poller in this process."""
    bus, metrics = Bus(redis_url), PollerMetrics()
    pool = agents or AgentPool()
    watcher = Watcher(
        poller_id=poller_id,
        executor=executor,
        connections=Connections(registry, fresh_seconds=connection_seconds),
        agents=pool,
        bus=bus,
        metrics=metrics,
        watch_list_seconds=watch_list_seconds,
        lease_seconds=lease_seconds,
    )
    try:
        async with watcher.running():
            yield RunningPoller(watcher, metrics, pool)
    finally:
        await pool.close()
        await bus.close()


async def launched(agents: AgentPool, connection: Connection, batch: Path) -> str:
    """Launch a batch folder as the executor does; return its native id."""
    agent = await agents.agent(connection)
    job, name = Place(JOBS, batch.parent.parent.name), batch.name
    launch = (await agent.launch(job, [name]))[name]
    assert launch.state == "launched", launch.message
    return launch.native_id
