"""The agent that can reach a job's folder."""

from typing import Any

from sqlalchemy import Row

from services.executor.connections import Connections
from shared.pipes import JOBS, AgentConnection, AgentPool, Place


class JobAgents:
    """Agents by job. `job` is a row with `profile_id`, `snapshot` and `folder`."""

    def __init__(self, agents: AgentPool, connections: Connections) -> None:
        self._agents = agents
        self._connections = connections

    async def of(self, job: Row[Any]) -> AgentConnection:
        """A working connection. Raises Unavailable while the resource is away."""
        return await self._agents.agent(await self._connections.for_work(job.profile_id, job.snapshot))


def folder_of(job: Row[Any]) -> Place:
    """Where the job's folder is on its resource."""
    return Place(JOBS, job.folder)


def batch_folder_of(job: Row[Any], batch_index: int) -> Place:
    """Where the folder of one of its batches is."""
    return folder_of(job) / "batches" / f"{batch_index:05d}"
