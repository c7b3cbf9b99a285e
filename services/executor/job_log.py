"""The whole log of a job: the log files of all its slots, each part under a line that says where it comes from."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from sqlalchemy import Row

from services.executor.catalogue import Catalogue
from services.executor.job_agents import JobAgents, batch_folder_of
from services.executor.repositories.batches import batches_of
from services.executor.repositories.jobs import find_job
from services.executor.waiting import first_of
from shared.contracts.jobs import FINAL_JOB_STATES
from shared.contracts.keys import Caller
from shared.database import Database
from shared.errors import NotFound
from shared.pipes import Place

_PAUSE_SECONDS = 1.0


class JobLogs:
    """Opens the logs of jobs."""

    def __init__(self, database: Database, catalogue: Catalogue, agents: JobAgents) -> None:
        self._database = database
        self._catalogue = catalogue
        self._agents = agents

    async def open(
        self, caller: Caller, job_id: str, *, follow: bool, stopping: asyncio.Event
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of all logs, source by source; with `follow` also those yet to come, until the job ends.

        Raises NotFound, Unavailable; the stream raises Unavailable when the resource goes away.
        """
        job = await self._catalogue.source(caller, job_id)
        async with self._database.read() as connection:
            batches = await batches_of(connection, job_id)
        # A pipe that is away is said before the answer begins.
        await self._agents.of(job)
        return _read(self._database, self._agents, job, _sources(job, batches), follow, stopping)


class _Source:
    def __init__(self, title: str, file: Place) -> None:
        self.title = title
        self.file = file
        self.read = 0


def _sources(job: Row[Any], batches: list[Row[Any]]) -> list[_Source]:
    return [
        _Source(
            f"batch {batch.batch_index}, slot {slot}",
            batch_folder_of(job, batch.batch_index) / f"logs/slot-{slot}.log",
        )
        for batch in batches
        for slot in range(batch.parallel)
    ]


async def _read(
    database: Database,
    agents: JobAgents,
    job: Row[Any],
    sources: list[_Source],
    follow: bool,  # noqa: FBT001
    stopping: asyncio.Event,
) -> AsyncGenerator[bytes, None]:
    shown: _Source | None = None
    ends_newline = True
    while True:
        async with database.read() as connection:
            now = await find_job(connection, job.id)
        over = now is None or now.state in FINAL_JOB_STATES
        agent = await agents.of(job)
        for source in sources:
            try:
                async with agent.read(source.file, source.read) as chunks:
                    async for chunk in chunks:
                        if source is not shown:
                            yield f"{'' if ends_newline else chr(10)}==> {source.title} <==\n".encode()
                            shown = source
                        yield chunk
                        source.read += len(chunk)
                        ends_newline = chunk.endswith(b"\n")
            except NotFound:
                continue  # nothing has run in this slot yet
        if over or not follow or await first_of(_PAUSE_SECONDS, stopping):
            return
