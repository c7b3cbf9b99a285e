"""Asking a resource's scheduler, counted and timed."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.poller.metrics import PollerMetrics
from shared.pipes import JOBS, AgentConnection, AgentPool
from shared.pipes.cluster import ClusterState, look_at_cluster, look_at_queue
from shared.slurm.answers.queue import Queue
from stoker.contracts.holds import Connection

T = TypeVar("T")


class SchedulerCalls:
    """All raise StokerError; then nothing is known. `as_user`: see `AgentPool.scheduler_agent`.

    `jobs_root` is that of the profile's batches, with which its files are followed: over the same connection.
    """

    def __init__(self, agents: AgentPool, metrics: PollerMetrics) -> None:
        self._agents = agents
        self._metrics = metrics

    async def queue(self, connection: Connection, jobs_root: str, *, as_user: bool) -> Queue:
        """Return the queue: one squeue."""
        agent = await self._agents.scheduler_agent(connection, as_user=as_user, roots={JOBS: jobs_root})
        return await self._counted(connection, "queue", look_at_queue, agent)

    async def cluster(self, connection: Connection, jobs_root: str) -> ClusterState:
        """Return what the cluster is like."""
        agent = await self._agents.scheduler_agent(connection, roots={JOBS: jobs_root})
        return await self._counted(connection, "cluster", look_at_cluster, agent)

    async def _counted(
        self,
        connection: Connection,
        kind: str,
        look: Callable[[AgentConnection], Awaitable[T]],
        agent: AgentConnection,
    ) -> T:
        resource_id = connection.resource.id
        begun = time.monotonic()
        outcome = "failed"
        try:
            found = await look(agent)
            outcome = "answered"
        finally:
            self._metrics.scheduler_calls.labels(resource_id, kind, outcome).inc()
            self._metrics.scheduler_seconds.labels(resource_id, kind).observe(time.monotonic() - begun)
        return found
