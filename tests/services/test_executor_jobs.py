"""Jobs over HTTP, from the submit call to the results."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.clients.executor import ExecutorClient
from tests.workshop.serving import World, ended

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, database_url: str, embedded_redis_url: str) -> AsyncIterator[World]:
    """A registry with a local resource; the test starts the executor."""
    made = World(tmp_path, database_url, embedded_redis_url)
    async with made.registry() as registry:
        await made.add_local_resource(registry)
        yield made


@pytest.fixture
async def executor(world: World) -> AsyncIterator[ExecutorClient]:
    async with world.executor() as client, world.poller():
        yield client


async def test_a_job_runs_and_its_results_come_in_order(world: World, executor: ExecutorClient) -> None:
    units = [{"n": n} for n in range(20)]
    submit = world.submission("sh", "-c", "cp {args_json} {out_json}; echo unit {unit}", units=units)
    job = await executor.submit(submit)
    assert (job.state, job.unit_count, job.counts.waiting) == ("accepted", 20, 20)
    over = await ended(executor, job.id)
    assert over.state == "succeeded", over
    results = [result async for result in executor.results(job.id)]
    assert [(result.index, result.output) for result in results] == [(n, {"n": n}) for n in range(20)]
    log = b"".join([chunk async for chunk in executor.unit_log(job.id, 7)])
    assert log == b"unit 7\n"
