"""Removing a job that has ended: its folder first, then its rows; killed in between, it is simply done again."""

from services.executor.jobs.catalogue import JobCatalogue
from services.executor.repositories.jobs import delete_final_job, delete_units
from services.executor.repositories.rows import JobSource
from services.executor.resources.agents import JobAgents, folder_of
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from stoker.contracts.jobs import FINAL_JOB_STATES
from stoker.contracts.keys import Caller
from stoker.errors import Conflict, Forbidden

_UNITS_A_TRANSACTION = 50_000


class Removal:
    """Removes jobs."""

    def __init__(self, database: Database, catalogue: JobCatalogue, agents: JobAgents) -> None:
        self._database = database
        self._catalogue = catalogue
        self._agents = agents

    async def delete(self, caller: Caller, job_id: str) -> None:
        """Remove a job at once. Raises NotFound, Conflict (it has not ended), Unavailable."""
        if caller.role == "service":
            raise Forbidden("jobs are removed with an admin's or a user's key")
        job = await self._catalogue.source(caller, job_id)
        if job.state not in FINAL_JOB_STATES:
            raise Conflict(f"The job has not ended: it is {job.state}; cancel it first, or wait")
        await self.remove(job)

    async def remove(self, job: JobSource) -> None:
        """Remove an ended job (a row of `find_job_source`). Raises Unavailable, Invalid (its folder cannot go)."""
        agent = await self._agents.of(job)
        await agent.remove(folder_of(job))
        failpoint("removal.folder")
        await self.forget(job)

    async def forget(self, job: JobSource) -> None:
        """Remove the rows of an ended job whose folder is gone, or out of everybody's reach."""
        for below in range(_UNITS_A_TRANSACTION, job.unit_count, _UNITS_A_TRANSACTION):
            async with self._database.write() as connection:
                await delete_units(connection, job.id, below)
        async with self._database.write() as connection:
            await delete_final_job(connection, job.id)
        failpoint("removal.rows")
