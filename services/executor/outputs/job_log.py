"""The whole log of a job: the log files of all its slots, each part under a line that says where it comes from."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import NamedTuple

from services.executor.jobs.catalogue import JobCatalogue
from services.executor.repositories.batches import batches_of
from services.executor.repositories.jobs import find_job
from services.executor.repositories.rows import JobSource
from services.executor.resources.agents import JobAgents, batch_folder_of
from shared.pipes import Place, Refused
from shared.service.database.transactions import Database
from shared.service.waiting import first_of
from stoker.contracts.jobs import FINAL_JOB_STATES
from stoker.contracts.keys import Caller
from stoker.errors import NotFound

_PAUSE_SECONDS = 1.0


class JobLogs:
    """Opens the logs of jobs."""

    def __init__(self, database: Database, catalogue: JobCatalogue, agents: JobAgents) -> None:
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
        # A pipe that is away is said before the answer begins.
        await self._agents.of(job)
        return _read(self._database, self._agents, job, follow, stopping)


class _Source(NamedTuple):
    """One slot's log."""

    batch_index: int
    slot: int

    @property
    def title(self) -> str:
        return f"batch {self.batch_index}, slot {self.slot}"

    def file(self, job: JobSource) -> Place:
        return batch_folder_of(job, self.batch_index) / f"logs/slot-{self.slot}.log"


async def _read(
    database: Database,
    agents: JobAgents,
    job: JobSource,
    follow: bool,  # noqa: FBT001
    stopping: asyncio.Event,
) -> AsyncGenerator[bytes, None]:
    shown: _Source | None = None
    ends_newline = True
    refused: set[_Source] = set()
    read: defaultdict[_Source, int] = defaultdict(int)
    while True:
        async with database.read() as connection:
            now = await find_job(connection, job.id)
            # There may be more than before: second attempts, compute units.
            batches = await batches_of(connection, job.id)
        sources = [_Source(batch.batch_index, slot) for batch in batches for slot in range(batch.parallel)]
        over = now is None or now.state in FINAL_JOB_STATES
        agent = await agents.of(job)
        for source in sources:
            try:
                async with agent.read(source.file(job), read[source]) as chunks:
                    async for chunk in chunks:
                        if source != shown:
                            yield f"{'' if ends_newline else chr(10)}==> {source.title} <==\n".encode()
                            shown = source
                        yield chunk
                        read[source] += len(chunk)
                        ends_newline = chunk.endswith(b"\n")
            except NotFound:
                continue  # nothing has run in this slot yet
            except Refused as error:
                # Somebody put something else into its place: the other slots are told all the same.
                if source not in refused:
                    yield f"{'' if ends_newline else chr(10)}==> {source.title} <==\n{error.message}\n".encode()
                    refused.add(source)
                    shown, ends_newline = None, True
        if over or not follow or await first_of(_PAUSE_SECONDS, stopping):
            return
