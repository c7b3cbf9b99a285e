"""What runners wrote is stored once, forward only, in whatever order and however often it is read."""

import asyncio
import time
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, insert, select, text

from services.executor.records import EventRecord, ResultRecord
from services.executor.repositories.batches import find_batch, move_batch
from services.executor.repositories.events import give_positions, read_stream
from services.executor.repositories.progress import Moves, counts_of, lock_job, settle
from services.executor.repositories.units import apply_records, end_unfinished
from services.executor.states import FINAL_JOB_STATES, job_may_become, unit_may_become
from services.executor.tables import batches, jobs, metadata, stream, units
from services.executor.verdicts import Verdict, ending
from shared.database import Database, parse_url

UNIT_COUNT = 4
JOB, BATCH = "j" * 26, "b" * 26

indices = st.integers(min_value=-1, max_value=UNIT_COUNT)
attempts = st.integers(min_value=1, max_value=2)
starts = st.builds(EventRecord, event=st.just("start"), at=st.just(1.0), unit=indices, attempt=attempts)
results = st.builds(
    ResultRecord,
    unit=indices,
    attempt=attempts,
    outcome=st.sampled_from(["succeeded", "failed", "interrupted"]),
    start=st.just(1.0),
    end=st.just(2.0),
    output=st.sampled_from([msgspec.Raw(), msgspec.Raw(b'{"n": 1}')]),
)
steps = st.one_of(
    st.tuples(st.just("records"), st.lists(starts, max_size=5), st.lists(results, max_size=5)),
    st.tuples(st.just("launched")),
    st.tuples(st.just("claimed")),
    st.tuples(st.just("cancel")),
    st.tuples(
        st.just("verdict"),
        st.sampled_from([Verdict.COMPLETE, Verdict.INTERRUPTED, Verdict.RUNNER_DIED, Verdict.REVOKED]),
    ),
)


def make_database(url: str) -> Database:
    """The tables with one job of one batch in them, whatever was there before."""
    kind, parsed = parse_url(url)
    engine = create_engine(parsed.set(drivername="postgresql+psycopg") if kind == "postgresql" else parsed)
    metadata.create_all(engine)
    now = time.time()
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
        connection.execute(insert(stream).values(id=1, last_position=0))
        job: dict[str, Any] = {
            "id": JOB,
            "name": "",
            "state": "accepted",
            "owner": "o",
            "key_id": "k",
            "profile_id": "p",
        }
        job |= {"resource_id": "r", "command": "[]", "spec": "{}", "snapshot": "{}", "folder": "f"}
        job |= {"unit_count": UNIT_COUNT, "waiting": UNIT_COUNT, "created_at": now, "updated_at": now}
        connection.execute(insert(jobs).values(**job))
        batch: dict[str, Any] = {"id": BATCH, "job_id": JOB, "batch_index": 0, "state": "planned"}
        connection.execute(insert(batches).values(**batch, unit_count=UNIT_COUNT, parallel=2))
        rows = [{"job_id": JOB, "unit_index": i, "arguments": "{}", "batch_index": 0} for i in range(UNIT_COUNT)]
        connection.execute(insert(units), rows)
    engine.dispose()
    return Database(url)


async def take(database: Database, step: tuple[Any, ...]) -> None:
    async with database.write() as connection:
        job, moves = await lock_job(connection, JOB), Moves()
        if step[0] == "records":
            await apply_records(connection, JOB, 0, step[1], step[2], moves)
        elif step[0] == "launched":
            await move_batch(connection, BATCH, ("planned", "launching"), state="queued", native_id="n")
        elif step[0] == "claimed":
            await move_batch(connection, BATCH, ("launching", "queued"), state="running")
        elif step[0] == "cancel":
            if job.state not in FINAL_JOB_STATES:
                await connection.execute(text("UPDATE jobs SET cancel_requested_at = 1"))
        else:
            how = ending(step[1], cancel_requested=job.cancel_requested_at is not None)
            launched = ("launching", "queued", "running")
            if how and await move_batch(connection, BATCH, launched, state=how.batch_state):
                await end_unfinished(
                    connection, JOB, 0, started=how.started, waiting=how.waiting, at=3.0, moves=moves
                )
        await settle(connection, job, moves)


async def look(database: Database) -> tuple[str, str, dict[int, str]]:
    async with database.write() as connection:
        job, batch = await lock_job(connection, JOB), await find_batch(connection, BATCH)
        assert batch is not None
        rows = (await connection.execute(select(units.c.unit_index, units.c.state))).all()
        counted = {name: sum(row.state == name for row in rows) for name in ("waiting", "running", "lost")}
        held = counts_of(job)
        assert {name: getattr(held, name) for name in counted} == counted
        return job.state, batch.state, {row.unit_index: row.state for row in rows}


async def scenario(url: str, taken: list[tuple[Any, ...]]) -> None:
    database = make_database(url)
    try:
        before = await look(database)
        for step in taken:
            await take(database, step)
            after = await look(database)
            assert after[0] == before[0] or job_may_become(before[0], after[0])
            for index, state in after[2].items():
                assert state == before[2][index] or unit_may_become(before[2][index], state)
            before = after
        async with database.write() as connection:
            given_now = await give_positions(connection)
        async with database.read() as connection:
            read = await read_stream(connection, after=0, owner=None, job_id=JOB)
        assert read == given_now
        assert [event.sequence for event in read] == list(range(1, len(read) + 1))
        assert len([event for event in read if event.state in FINAL_JOB_STATES]) <= 1
    finally:
        await database.close()


# The fixture's database is one for all examples: each begins by emptying it.
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(taken=st.lists(steps, max_size=12))
def test_rows_only_move_forward_whatever_the_order_repetition_or_loss_of_what_was_seen(
    database_url: str, taken: list[tuple[Any, ...]]
) -> None:
    asyncio.run(scenario(database_url, taken))
