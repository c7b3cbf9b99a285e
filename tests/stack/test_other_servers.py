"""`stoker up` on a PostgreSQL and a Redis that somebody else runs, as in production."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import RedisServer
from tests.stack.jobs import events_to_the_end, starts, submit_tracing
from tests.stack.running import RunningStack, wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("redis_server", ["redis-server"], indirect=True)]
UNITS = 120


@pytest.fixture
def served_stack(
    tmp_path: Path, postgresql_server: PostgresqlServer, redis_server: RedisServer
) -> Iterator[RunningStack]:
    names = [postgresql_server.create_database() for _ in range(2)]
    registry, executor = map(postgresql_server.url, names)
    settings = {"STOKER_REGISTRY_DATABASE_URL": registry, "STOKER_EXECUTOR_DATABASE_URL": executor}
    stack = RunningStack(tmp_path / "state", environment=settings | {"STOKER_REDIS_URL": redis_server.url})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        postgresql_server.process.start()
        for name in names:
            postgresql_server.drop_database(name)


async def test_a_job_runs_once_although_both_are_killed(
    served_stack: RunningStack, postgresql_server: PostgresqlServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job = await submit_tracing(served_stack, trace, units=UNITS, seconds=0.3)
    listening = asyncio.create_task(events_to_the_end(served_stack, job.id))
    for servers in ([postgresql_server], [redis_server], [postgresql_server, redis_server]):
        enough = min(UNITS, len(starts(trace)) + 5)
        await asyncio.to_thread(wait_for, lambda n=enough: len(starts(trace)) >= n, 60, served_stack.logs)
        for server in servers:
            await asyncio.to_thread(server.process.kill)
        for server in servers:
            await asyncio.to_thread(server.process.start)
    events = await listening
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (events[-1].state, events[-1].counts.succeeded) == ("succeeded", UNITS)
    assert starts(trace) == Counter(range(UNITS))


@pytest.mark.usefixtures("redis_server")
async def test_nothing_of_it_is_kept_in_the_folder_and_a_restart_finds_all(
    served_stack: RunningStack, tmp_path: Path
) -> None:
    assert set(served_stack.record.processes) == {"registry", "executor", "poller"}
    assert not list(served_stack.folder.path.rglob("*.db"))
    job = await submit_tracing(served_stack, tmp_path / "trace", units=3, seconds=0)
    await events_to_the_end(served_stack, job.id)
    served_stack.stop()
    served_stack.start()
    assert served_stack.json("show", job.id)["job"]["state"] == "succeeded"
    assert [found["name"] for found in served_stack.json("resource", "list")] == ["local"]
