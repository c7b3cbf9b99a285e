"""Nothing is counted twice, whoever reads it; and a profile that a job uses is never released."""

import asyncio
import time

import pytest

from services.executor.kinds.kind import Kind
from services.executor.kinds.local import LocalJudge, LocalLauncher
from services.executor.repositories import holds as hold_rows
from services.executor.repositories.batches import batches_of
from services.executor.repositories.rows import BatchRow, JobSource
from services.executor.resources.agents import JobAgents
from services.executor.running.batch_file import StagingLimits
from services.executor.running.collector import Collector
from shared.pipes import AgentConnection, AgentPool
from shared.service.connections import Connections
from shared.service.database.notifying import NotifyingDatabase
from shared.service.database.transactions import Database
from stoker.clients.registry import RegistryClient
from stoker.contracts.jobs import Job
from stoker.contracts.watches import Observation
from tests.waiting import until
from tests.workshop.serving import World

pytestmark = pytest.mark.anyio

# Three lines that fit no record, and then a wait.
FORGES = (
    "printf 'nonsense\\nnonsense\\nnonsense\\n' >> ../batches/00000/results.jsonl;"
    ' while [ ! -e "$0" ]; do sleep 0.05; done'
)


class SlowAgents(JobAgents):
    """Those of an executor that is held up after it has looked at the rows."""

    def __init__(self, agents: AgentPool, connections: Connections) -> None:
        super().__init__(agents, connections)
        self.looked = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def of(self, job: JobSource) -> AgentConnection:
        self.looked.set()
        await self.goes_on.wait()
        return await super().of(job)


def collector(holder: str, database: Database, agents: JobAgents) -> Collector:
    return Collector(
        holder=holder,
        database=database,
        agents=agents,
        kinds={"local": Kind(LocalLauncher(), LocalJudge(database))},
        limits=StagingLimits(),
        lease_seconds=0.0,
    )


async def only_batch(database: Database, job: Job) -> BatchRow:
    async with database.read() as connection:
        [batch] = await batches_of(connection, job.id)
    return batch


async def test_what_two_executors_have_read_is_stored_by_one(world: World) -> None:
    database, pool = NotifyingDatabase(world.executor_database_url), AgentPool()
    try:
        async with world.executor() as client, RegistryClient(world.registry_url, world.service_key) as registry:
            # Nobody watches: nothing is collected but here.
            gate = world.folder / "gate"
            job = await client.submit(world.submission("sh", "-c", FORGES, str(gate)))
            results = world.jobs_dir / job.folder / "batches/00000/results.jsonl"
            await until(lambda: results.exists() and results.stat().st_size > 0, "the unit has written")
            batch = await only_batch(database, job)
            hints = {
                batch.id: Observation(
                    batch_id=batch.id,
                    job_id=job.id,
                    resource_id=job.resource_id,
                    native_id=batch.native_id or "",
                    observed_at=time.time(),
                    events_length=1,
                    results_length=results.stat().st_size,
                )
            }
            slow = SlowAgents(pool, Connections(registry))
            held_up = asyncio.create_task(collector("first", database, slow).collect(job.id, hints))
            await slow.looked.wait()
            # The first one's lease is over: the second one reads the same.
            second = collector("second", database, JobAgents(pool, Connections(registry)))
            await second.collect(job.id, hints)
            once = await only_batch(database, job)
            assert once.left_out == 3
            slow.goes_on.set()
            await held_up
            assert await only_batch(database, job) == once
            assert (await client.job(job.id)).counts.running == 1
            gate.touch()
    finally:
        await pool.close()
        await database.close()


async def test_a_profile_that_a_job_uses_is_never_released(world: World) -> None:
    database = NotifyingDatabase(world.executor_database_url)
    try:
        async with world.executor():
            pass
        async with database.write() as connection:
            await hold_rows.take(connection, world.profile.id, world.resource.id, "t1")
        async with database.read() as connection:
            # Seen as unused by somebody who is slow …
            assert list(await hold_rows.unused(connection)) == [world.profile.id]
        async with world.executor() as client:
            # … and used by the time that it goes on.
            await client.submit(world.submission("true"))
            async with database.write() as connection:
                assert not await hold_rows.start_releasing(connection, world.profile.id)
            async with database.read() as connection:
                [row] = await hold_rows.all_holds(connection)
                assert row.state == "held"
    finally:
        await database.close()
