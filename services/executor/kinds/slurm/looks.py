"""Looking at a cluster's scheduler: few calls, however many jobs want to know.

Whoever asks while a look is under way, or is due soon, shares the next one. A look that failed is shared too: a
controller that is down is not asked by each job.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from msgspec import UNSET

from shared.pipes import AgentConnection, AgentPool
from shared.pipes.cluster import ClusterState, look_at_accounting, look_at_cluster, look_at_queue
from shared.slurm.answers.accounting import Accounting
from shared.slurm.answers.queue import Queue
from stoker.contracts.holds import Connection
from stoker.errors import StokerError

_CLUSTER_SECONDS = 600.0
_LEAST_SPACING_SECONDS = 1.0
T = TypeVar("T")


class _Shared(Generic[T]):
    """One thing that is looked at again and again."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._began = float("-inf")
        self._found: T | None = None
        self._error: StokerError | None = None

    async def after(self, wanted: float, spacing_seconds: float, look: Callable[[], Awaitable[T]]) -> T:
        """What a look that began at or after `wanted` (monotonic) found. Raises what it raised."""
        async with self._one_at_a_time:
            failed_long_ago = self._error is not None and time.monotonic() - self._began > spacing_seconds
            if self._began < wanted or failed_long_ago:
                await asyncio.sleep(max(0.0, self._began + spacing_seconds - time.monotonic()))
                self._began = time.monotonic()
                try:
                    self._found, self._error = await look(), None
                except StokerError as error:
                    self._found, self._error = None, error
            if self._error is not None:
                raise self._error
            assert self._found is not None  # noqa: S101 - found, or an error
            return self._found


class SchedulerLooks:
    """Looks by resource; by profile where the cluster hides users' jobs from each other."""

    def __init__(self, agents: AgentPool) -> None:
        self._agents = agents
        self._clusters: dict[str, _Shared[ClusterState]] = {}
        self._queues: dict[str, _Shared[Queue]] = {}
        self._accountings: dict[str, _Shared[Accounting]] = {}
        # What the next look into the accounting is to tell of: jobs' names, and since when.
        self._wanted: dict[str, dict[str, float]] = {}

    async def cluster(self, connection: Connection) -> ClusterState:
        """The cluster's settings, at most some minutes old. Raises Unavailable."""

        async def look() -> ClusterState:
            return await look_at_cluster(await self._agents.scheduler_agent(connection))

        shared = self._clusters.setdefault(_resource(connection), _Shared())
        return await shared.after(time.monotonic() - _CLUSTER_SECONDS, _LEAST_SPACING_SECONDS, look)

    async def queue(self, connection: Connection) -> Queue:
        """The queue of now. Raises Unavailable, which says nothing about any job."""
        key, private = await self._seat(connection)

        async def look() -> Queue:
            return await look_at_queue(await self._agent(connection, private=private))

        shared = self._queues.setdefault(key, _Shared())
        return await shared.after(time.monotonic(), _spacing(connection), look)

    async def accounting(self, connection: Connection, *, since: float, names: Iterable[str]) -> Accounting:
        """What is recorded of jobs of these names since then (epoch seconds). Raises Unavailable."""
        key, private = await self._seat(connection)
        wanted = self._wanted.setdefault(key, {})
        for name in names:
            wanted[name] = min(since, wanted.get(name, since))

        async def look() -> Accounting:
            asked, earliest = frozenset(wanted), min(wanted.values(), default=since)
            wanted.clear()
            agent = await self._agent(connection, private=private)
            return await look_at_accounting(agent, since=earliest, names=asked)

        shared = self._accountings.setdefault(key, _Shared())
        return await shared.after(time.monotonic(), _spacing(connection), look)

    async def _seat(self, connection: Connection) -> tuple[str, bool]:
        private = (await self.cluster(connection)).hides_jobs
        resource = _resource(connection)
        return (f"{resource}/{connection.profile.id}" if private else resource), private

    async def _agent(self, connection: Connection, *, private: bool) -> AgentConnection:
        return await self._agents.scheduler_agent(connection, as_user=private)


def _resource(connection: Connection) -> str:
    return f"{connection.resource.id}:{connection.resource.version}"


def _spacing(connection: Connection) -> float:
    interval = connection.resource.spec.jobs_poll_interval
    return max(_LEAST_SPACING_SECONDS, 5.0 if interval is UNSET else float(interval))
