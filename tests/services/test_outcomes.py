"""What runners wrote is stored once, forward only, in whatever order and however often it is read."""

import asyncio
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, insert, select, text

from services.executor.kinds.local import Verdict, local_ending
from services.executor.model.records import EventRecord, ReasonRecord, ResultRecord
from services.executor.model.states import (
    FINAL_BATCH_STATES,
    FINAL_JOB_STATES,
    FINAL_UNIT_STATES,
    batch_may_become,
    job_may_become,
    unit_may_become,
)
from services.executor.model.unit_changes import UnitChanges
from services.executor.progress.batch_end import end_batch
from services.executor.progress.settle import settle
from services.executor.repositories.batches import batches_of, move_batch
from services.executor.repositories.events import give_positions, read_stream
from services.executor.repositories.jobs import counts_of, lock_job
from services.executor.repositories.stored_submit import retries_of
from services.executor.repositories.tables import NO_BATCH, batches, jobs, metadata, stream, units
from services.executor.repositories.tables import attempts as kept
from services.executor.repositories.units import apply_records
from shared.service.database.transactions import Database, parse_url

UNIT_COUNT = 4
JOB, BATCH = "j" * 26, "b" * 26
pytestmark = pytest.mark.anyio

GOLDEN = Path(__file__).parents[1] / "golden"
LAUNCHED = ("launching", "queued", "running")
RETRIES = {"count": 2, "on": ["exit_code", "runner_died"]}

indices = st.integers(min_value=-1, max_value=UNIT_COUNT)
attempts = st.integers(min_value=1, max_value=3)
batch_numbers = st.sampled_from([0, 0, 1, 2])
starts = st.builds(EventRecord, event=st.just("start"), at=st.just(1.0), unit=indices, attempt=attempts)
results = st.builds(
    ResultRecord,
    unit=indices,
    attempt=attempts,
    outcome=st.sampled_from(["succeeded", "failed", "interrupted"]),
    reason=st.sampled_from([ReasonRecord(code=code, text="why") for code in ("exit_code", "signal")]),
    start=st.just(1.0),
    end=st.just(2.0),
    output=st.sampled_from([msgspec.Raw(), msgspec.Raw(b'{"n": 1}')]),
)
steps = st.one_of(
    st.tuples(st.just("records"), batch_numbers, st.lists(starts, max_size=5), st.lists(results, max_size=5)),
    st.tuples(st.just("launched"), batch_numbers),
    st.tuples(st.just("claimed"), batch_numbers),
    st.tuples(st.just("cancel"), st.just(0)),
    st.tuples(
        st.just("verdict"),
        batch_numbers,
        st.sampled_from([Verdict.COMPLETE, Verdict.INTERRUPTED, Verdict.RUNNER_DIED, Verdict.REVOKED]),
    ),
)


def stored_json(*, retries: bool) -> dict[str, str]:
    """The columns of a job that hold what it was submitted with, and where."""
    spec: dict[str, Any] = {"profile_id": "p", "command": ["true"]} | ({"retries": RETRIES} if retries else {})
    resource, profile = (
        msgspec.Raw((GOLDEN / f"{kind}_local.json").read_bytes()) for kind in ("resource", "profile")
    )
    snapshot = {"resource": resource, "profile": profile}
    return {name: msgspec.json.encode(value).decode() for name, value in (("spec", spec), ("snapshot", snapshot))}


def make_database(url: str, *, retries: bool) -> Database:
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
        job |= {"resource_id": "r", "command": "[]", "folder": "f", **stored_json(retries=retries)}
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
        job, moves = await lock_job(connection, JOB), UnitChanges()
        present = {batch.batch_index: batch for batch in await batches_of(connection, JOB)}
        batch = present.get(step[1])
        if batch is None:
            return
        if step[0] == "records":
            if batch.state not in FINAL_BATCH_STATES:
                await apply_records(connection, JOB, step[1], step[2], step[3], moves, retries_of(job))
        elif step[0] == "launched":
            await move_batch(connection, batch.id, ("planned", "launching"), state="queued", native_id="n")
        elif step[0] == "claimed":
            await move_batch(connection, batch.id, ("launching", "queued"), state="running")
        elif step[0] == "cancel":
            if job.state not in FINAL_JOB_STATES:
                await connection.execute(text("UPDATE jobs SET cancel_requested_at = 1"))
        elif how := local_ending(step[2], cancel_requested=job.cancel_requested_at is not None):
            await end_batch(connection, job, batch, how, moves, before=LAUNCHED)
        await settle(connection, job, moves)


class Seen(NamedTuple):
    job: str
    batches: dict[int, str]
    units: dict[int, tuple[int, str]]
    """Of each the attempt and its state."""


async def look(database: Database) -> Seen:
    async with database.write() as connection:
        job, present = await lock_job(connection, JOB), await batches_of(connection, JOB)
        rows = (await connection.execute(select(units))).all()
        counted = {name: sum(row.state == name for row in rows) for name in ("waiting", "running", "lost")}
        held = counts_of(job)
        assert {name: getattr(held, name) for name in counted} == counted
        # Who waits for a batch is not forgotten when all batches have ended, and what is over has a batch.
        if all(batch.state in FINAL_BATCH_STATES for batch in present):
            assert not [row for row in rows if row.batch_index == NO_BATCH and row.state == "waiting"]
        over = {batch.batch_index for batch in present if batch.state in FINAL_BATCH_STATES}
        assert not [row for row in rows if row.batch_index in over and row.state in ("waiting", "running")]
        for row in rows:
            before = await connection.execute(select(kept.c.attempt).where(kept.c.unit_index == row.unit_index))
            assert all(attempt < row.attempt for attempt in before.scalars())
        return Seen(
            job.state,
            {batch.batch_index: batch.state for batch in present},
            {row.unit_index: (row.attempt, row.state) for row in rows},
        )


def check_progress(before: Seen, after: Seen) -> None:
    assert after.job == before.job or job_may_become(before.job, after.job)
    for index, state in before.batches.items():
        assert after.batches[index] == state or batch_may_become(state, after.batches[index])
    for index, (attempt, state) in after.units.items():
        old_attempt, old_state = before.units[index]
        assert attempt >= old_attempt
        if attempt > old_attempt:
            assert old_state not in FINAL_UNIT_STATES
        else:
            assert state == old_state or unit_may_become(old_state, state)


async def scenario(url: str, taken: list[tuple[Any, ...]], *, retries: bool) -> None:
    database = make_database(url, retries=retries)
    try:
        before = await look(database)
        for step in taken:
            await take(database, step)
            after = await look(database)
            check_progress(before, after)
            before = after
        async with database.write() as connection:
            given_now = await give_positions(connection)
        async with database.read() as connection:
            read = await read_stream(connection, after=0, owner=None, job_id=JOB)
        assert read == given_now
        assert [event.sequence for event, _ in read] == list(range(1, len(read) + 1))
        assert len([event for event, _ in read if event.state in FINAL_JOB_STATES]) <= 1
    finally:
        await database.close()


@pytest.mark.both_databases
# The fixture's database is one for all examples: each begins by emptying it.
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(taken=st.lists(steps, max_size=12), retries=st.booleans())
def test_rows_only_move_forward_whatever_the_order_repetition_or_loss_of_what_was_seen(
    database_url: str,
    taken: list[tuple[Any, ...]],
    retries: bool,  # noqa: FBT001 - hypothesis fills it in
) -> None:
    asyncio.run(scenario(database_url, taken, retries=retries))


def start(unit: int) -> EventRecord:
    return EventRecord(event="start", at=1.0, unit=unit, attempt=1)


async def told(database: Database) -> tuple[str, dict[int, int], list[tuple[int, str, str]]]:
    """The job's state, how many units each batch that goes on has, and of each unit its attempt, state and reason."""
    async with database.read() as connection:
        job = (await connection.execute(select(jobs.c.state))).scalar_one()
        rows = (await connection.execute(select(units).order_by(units.c.unit_index))).all()
        present = [one for one in await batches_of(connection, JOB) if one.state not in FINAL_BATCH_STATES]
    going_on = {batch.batch_index: batch.unit_count for batch in present}
    for index, count in going_on.items():
        assert sum(row.batch_index == index for row in rows) == count
    return job, going_on, [(row.attempt, row.state, row.reason or "") for row in rows]


async def run_through(database: Database, *taken: tuple[Any, ...]) -> None:
    for step in taken:
        await take(database, step)


async def test_what_a_batch_had_not_begun_is_launched_again_and_only_what_ran_is_lost(database_url: str) -> None:
    database = make_database(database_url, retries=False)
    try:
        await run_through(
            database,
            ("launched", 0),
            ("claimed", 0),
            ("records", 0, [start(0)], []),
            ("verdict", 0, Verdict.RUNNER_DIED),
        )
        job, going_on, rows = await told(database)
        assert job not in FINAL_JOB_STATES
        assert going_on == {1: UNIT_COUNT - 1}
        assert [(attempt, state) for attempt, state, _ in rows] == [(1, "lost")] + [(1, "waiting")] * 3
    finally:
        await database.close()


async def test_three_batches_in_succession_that_begin_nothing_are_the_last_and_say_why(database_url: str) -> None:
    database = make_database(database_url, retries=False)
    try:
        for index in range(3):
            assert (await told(database))[1] == {index: UNIT_COUNT}
            await run_through(database, ("launched", index), ("verdict", index, Verdict.NEVER_CLAIMED))
        job, going_on, rows = await told(database)
        assert (job, going_on) == ("failed", {})
        for attempt, state, reason in rows:
            assert (attempt, state) == (1, "failed")
            assert "launched 3 times and never begun; the last time: the runner ended before it could start" in reason
    finally:
        await database.close()


async def test_a_batch_that_begins_something_is_progress(database_url: str) -> None:
    database = make_database(database_url, retries=False)
    try:
        for index in range(2):
            await run_through(database, ("launched", index), ("verdict", index, Verdict.REVOKED))
        await run_through(
            database, ("launched", 2), ("records", 2, [start(0)], []), ("verdict", 2, Verdict.RUNNER_DIED)
        )
        for index in (3, 4):
            await run_through(database, ("launched", index), ("verdict", index, Verdict.REVOKED))
        assert (await told(database))[1] == {5: UNIT_COUNT - 1}
    finally:
        await database.close()


async def test_what_is_to_be_cancelled_is_not_launched_again(database_url: str) -> None:
    database = make_database(database_url, retries=False)
    try:
        await run_through(database, ("launched", 0), ("cancel", 0), ("verdict", 0, Verdict.RUNNER_DIED))
        job, going_on, rows = await told(database)
        assert (job, going_on) == ("cancelled", {})
        assert {state for _, state, _ in rows} == {"cancelled"}
    finally:
        await database.close()
