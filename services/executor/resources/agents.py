"""The agent that can reach a job's folder."""

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from services.executor.repositories.rows import BatchRow, JobSource
from shared.pipes import JOBS, AgentConnection, AgentPool, Place, place_of_activities, roots_of
from shared.service.connections import Connections
from stoker.contracts.holds import Connection


class JobAgents:
    """Agents by job."""

    def __init__(self, agents: AgentPool, connections: Connections) -> None:
        self._agents = agents
        self._connections = connections

    async def of(self, job: JobSource) -> AgentConnection:
        """A working connection, made the way that is right now, to the folders that the job was accepted with.

        Raises Unavailable while the resource is away.
        """
        return await self._agents.agent(await self.connection_of(job), _roots(job.snapshot))

    async def connection_of(self, job: JobSource) -> Connection:
        """How the job's profile, or the place where environments are made, is reached right now."""
        connection = await self._connections.for_work(job.profile_id, job.snapshot)
        return place_of_activities(connection) if job.kind == "activity" else connection


@lru_cache(maxsize=1024)
def _roots(snapshot: str) -> dict[str, str]:
    return roots_of(msgspec.json.decode(snapshot, type=Connection))


def folder_of(job: JobSource) -> Place:
    """Where the job's folder is on its resource."""
    return Place(JOBS, job.folder)


def batch_name(batch: BatchRow) -> str:
    """What a batch is called in the verbs of the agent: the name of its folder."""
    return f"{batch.batch_index:05d}"


def native_ids_of(batches: Iterable[BatchRow]) -> dict[str, str]:
    """The launch by which each batch is known, by the batch's name."""
    return {batch_name(batch): batch.native_id for batch in batches if batch.native_id is not None}


def batch_folder_of(job: JobSource, batch_index: int) -> Place:
    """Where the folder of one of its batches is."""
    return folder_of(job) / "batches" / f"{batch_index:05d}"
