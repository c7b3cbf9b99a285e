"""What must not grow: with history, with a job's other batches, with its units, with those who listen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.events import EventStream
from services.executor.jobs.cancellation import Cancellation
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.next_attempts import plan_next
from services.executor.repositories import batches as batch_rows
from services.executor.repositories import kept_jobs, leases
from services.executor.repositories.events import append_event
from services.executor.repositories.jobs import (
    JobFilter,
    NewJob,
    add_units,
    counts_of,
    insert_job,
    list_jobs,
    lock_job,
)
from services.executor.repositories.migrations import LOCATION
from services.executor.repositories.tables import NO_BATCH, attempts, batches, units
from shared.service.bus import Bus
from shared.service.database.migrations import upgrade
from shared.service.database.transactions import Database
from stoker.contracts.jobs import PlannedBatch
from stoker.contracts.keys import Caller

pytestmark = pytest.mark.anyio

JOB = "01kaaaaaaaaaaaaaaaaaaaaaaa"
SPEC = '{"profile_id":"p","command":["true"],"retries":{"count":2,"on":["exit_code"]}}'
SNAPSHOT = (
    '{"resource":{"id":"r","name":"r","type":"local","version":1,"created_at":"2026-01-01T00:00:00Z",'
    '"updated_at":"2026-01-01T00:00:00Z","spec":{"type":"local","name":"r","jobs_local_dir":"/j",'
    '"tasks_local_dir":"/t","tasks_python_config":{"default_version":"3.11","versions":{"3.11":"/p"}},'
    '"jobs_runner_config":{}}},"profile":{"id":"p","resource_id":"r","name":"p","resource_type":"local","version":1,'
    '"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","spec":{"resource_type":"local",'
    '"name":"p"}}}'
)


@asynccontextmanager
async def with_job(database_url: str, *, units_in_all: int, batch_count: int) -> AsyncIterator[Database]:
    await asyncio.to_thread(upgrade, database_url, LOCATION)
    database = Database(database_url)
    each = units_in_all // batch_count
    plan = [PlannedBatch(index=n, first=n * each, unit_count=each, parallel=2) for n in range(batch_count)]
    new = NewJob(
        id=JOB,
        name="big",
        owner="ann",
        key_id="k",
        profile_id="p",
        resource_id="r",
        command='["true"]',
        spec=SPEC,
        snapshot=SNAPSHOT,
        folder=f"2026-01/{JOB}",
        created_at=1.0,
        unit_count=units_in_all,
        batches=[(f"01kb{batch.index:022d}", batch) for batch in plan],
    )
    try:
        async with database.write() as connection:
            await insert_job(connection, new)
            await add_units(connection, JOB, plan, ["{}"] * units_in_all)
        yield database
    finally:
        await database.close()


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is sent meanwhile, with its parameters (many rows of one call count as one)."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_cancelling_many_batches_takes_few_statements(database_url: str) -> None:
    async with with_job(database_url, units_in_all=20_000, batch_count=200) as database:
        caller = Caller(key_id="k", role="user", owner="ann")
        with statements() as seen:
            job = await Cancellation(database, lambda: None).cancel(caller, JOB)
        assert len(seen) < 30, seen
        assert (job.state, job.counts.cancelled, job.counts.waiting) == ("cancelled", 20_000, 0)
        async with database.read() as connection:
            states = (await connection.execute(select(batches.c.state).distinct())).scalars().all()
            assert states == ["revoked"]


async def test_every_second_unit_is_tried_again_without_a_statement_for_each(database_url: str) -> None:
    count = 20_000
    async with with_job(database_url, units_in_all=count, batch_count=1) as database:
        async with database.write() as connection:
            odd = [{"unit_index": index, "job_id": JOB} for index in range(1, count, 2)]
            await connection.execute(
                units.update().where(units.c.job_id == JOB, units.c.unit_index % 2 == 1).values(batch_index=NO_BATCH)
            )
            ended = {"attempt": 1, "batch_index": 0, "state": "failed", "reason": '{"code":"exit_code","text":"1"}'}
            await connection.execute(insert(attempts), [{**one, **ended} for one in odd])
        with statements() as seen:
            async with database.write() as connection:
                job = await lock_job(connection, JOB)
                await plan_next(connection, job, UnitChanges())
        assert len(seen) < 60, len(seen)
        async with database.read() as connection:
            again = await connection.execute(select(units.c.unit_index).where(units.c.batch_index == 1))
            assert sorted(again.scalars()) == list(range(1, count, 2))


async def add_up(connection: AsyncConnection) -> None:
    batch = await batch_rows.batch_at(connection, JOB, 3)
    assert batch is not None
    await batch_rows.add_up(connection, batch)


HOT: dict[str, Callable[[AsyncConnection], Any]] = {
    "looking for work": lambda c: leases.find_work(
        c, "me", without_ids=["x"], without_resources=["y"], without_owners=[("r", "bob")]
    ),
    "the watch list": batch_rows.launched_batches,
    "states of batches": lambda c: batch_rows.batch_states(c, JOB),
    "jobs in work": lambda c: kept_jobs.unended(c, None, 50),
    "jobs of a state": lambda c: list_jobs(c, JobFilter(state="running"), before_id=None, limit=50),
    "jobs of a name": lambda c: list_jobs(c, JobFilter(name="big"), before_id=None, limit=50),
    "jobs of an owner in a state": lambda c: list_jobs(
        c, JobFilter(owner="ann", state="running"), before_id=None, limit=50
    ),
    "the end of a batch": add_up,
}


@pytest.mark.parametrize("name", HOT)
async def test_no_hot_query_reads_a_whole_table(database_url: str, name: str) -> None:
    async with with_job(database_url, units_in_all=100, batch_count=10) as database:
        with statements() as seen:
            async with database.write() as connection:
                await HOT[name](connection)
        queries = [one for one in seen if one[0].lstrip().startswith("SELECT")]
        assert queries
        async with database.write() as connection:
            postgresql = connection.dialect.name == "postgresql"
            if postgresql:
                # With so few rows reading all of them would be right: only whether it need not is of interest.
                await connection.execute(text("SET LOCAL enable_seqscan = off"))
            for statement, values in queries:
                explain = f"EXPLAIN {statement}" if postgresql else f"EXPLAIN QUERY PLAN {statement}"
                plan = "\n".join(str(row) for row in (await connection.exec_driver_sql(explain, values)).all())
                assert "Seq Scan" not in plan, plan
                whole = [line for line in plan.splitlines() if "SCAN " in line and "USING" not in line]
                assert not [line for line in whole if "CONSTANT" not in line], plan


class CountingDatabase(Database):
    """Counts how often it is read."""

    reads = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        self.reads += 1
        async with super().read() as connection:
            yield connection


async def test_events_are_read_once_for_all_who_follow(database_url: str, redis_url: str) -> None:
    count, followers = 50, 100
    async with with_job(database_url, units_in_all=1, batch_count=1) as database:
        counting, bus = CountingDatabase(database_url), Bus(redis_url)
        stream = EventStream(counting, bus)
        try:
            async with stream.running():
                tip = await stream.last_position()

                async def follow(job_id: str | None) -> list[int]:
                    heard: list[int] = []
                    with stream.reader(after=tip, owner=None, job_id=job_id) as reader:
                        while len(heard) < count + 1:
                            if found := await reader.more():
                                heard += [told.event.position for told in found]
                            else:
                                await reader.wait(60.0, asyncio.Event())
                    return heard

                async with asyncio.timeout(120), asyncio.TaskGroup() as group:
                    following = [group.create_task(follow(JOB)) for _ in range(followers)]
                    following.append(group.create_task(follow(None)))
                    for _ in range(count):
                        async with database.write() as connection:
                            job = await lock_job(connection, JOB)
                            await append_event(
                                connection,
                                job,
                                type_="job_progress",
                                state=job.state,
                                counts=counts_of(job),
                                at=1.0,
                            )
                        stream.wake()
                        await asyncio.sleep(0)
        finally:
            await counting.close()
            await bus.close()
    heard = {tuple(one.result()) for one in following}
    assert len(heard) == 1
    # The first event is the job's own.
    assert len(set(heard.pop())) == count + 1
    assert counting.reads < 5 * count + followers
