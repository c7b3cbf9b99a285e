"""What jobs take up on disk, per resource: as measured at their end, and at this moment for those in work."""

import asyncio

from services.executor.repositories.kept_jobs import unended, usage_by_resource
from services.executor.repositories.rows import JobSource
from services.executor.resources.agents import JobAgents, folder_of
from shared.service.database.transactions import Database
from stoker.contracts.keys import Caller
from stoker.contracts.usage import ResourceUsage, Usage
from stoker.errors import StokerError

_MEASURED_LIVE = 50
_AT_ONCE = 4
_PATIENCE_SECONDS = 5.0


class DiskUsage:
    """Adds up."""

    def __init__(self, database: Database, agents: JobAgents) -> None:
        self._database = database
        self._agents = agents
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def of(self, caller: Caller) -> Usage:
        """The caller's jobs (an administrator's: all). Raises Unavailable (database).

        Of jobs in work the newest 50 are measured now; one whose resource does not answer in time counts as nothing.
        """
        owner = caller.owner if caller.role == "user" else None
        async with self._database.read() as connection:
            totals = await usage_by_resource(connection, owner)
            in_work = await unended(connection, owner, _MEASURED_LIVE)
        measured = await asyncio.gather(*map(self._measure, in_work))
        live: dict[str, int] = {}
        for job, size in zip(in_work, measured, strict=True):
            live[job.resource_id] = live.get(job.resource_id, 0) + size
        return Usage(
            resources=[
                ResourceUsage(resource_id=resource_id, jobs=count, disk_bytes=known + live.get(resource_id, 0))
                for resource_id, count, known in totals
            ]
        )

    async def _measure(self, job: JobSource) -> int:
        try:
            async with self._turns, asyncio.timeout(_PATIENCE_SECONDS):
                agent = await self._agents.of(job)
                return (await agent.measure(folder_of(job))).bytes
        except (StokerError, TimeoutError):
            return 0
