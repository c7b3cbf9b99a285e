"""One Database on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, exc, insert, select, update

from shared.service.database.columns import JsonText, UtcDateTime
from shared.service.database.transactions import Database, parse_url
from stoker.errors import Invalid, Unavailable
from tests.servers.postgresql import PostgresqlServer

pytestmark = [pytest.mark.anyio, pytest.mark.both_databases]


class Note(msgspec.Struct):
    words: list[str]


metadata = MetaData()
notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, unique=True),
    Column("at", UtcDateTime),
    Column("note", JsonText(Note)),
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    async with opened.write() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(notes).values(id=1, name="counter"))
    yield opened
    await opened.close()


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(select(notes.c.name).order_by(notes.c.id))).scalars())


async def test_values_come_back_as_they_were(database: Database) -> None:
    at = datetime(2026, 1, 31, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    note = Note(["a", "ü", "\x00", "'\"%"])
    async with database.write() as connection:
        await connection.execute(insert(notes).values(id=2, name="x", at=at, note=note))
        await connection.execute(insert(notes).values(id=3, name="y"))
    async with database.read() as connection:
        rows = (await connection.execute(select(notes.c.at, notes.c.note).where(notes.c.id > 1))).all()
    assert [tuple(row) for row in rows] == [(at, note), (None, None)]
    assert rows[0].at.tzinfo is UTC


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(exc.StatementError, match="time zone"):
        async with database.write() as connection:
            await connection.execute(insert(notes).values(id=2, at=datetime(2026, 1, 1)))  # noqa: DTZ001


async def test_an_exception_rolls_everything_back(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.write() as connection:
            await connection.execute(insert(notes).values(id=2, name="lost"))
            raise RuntimeError
    assert await names(database) == ["counter"]


async def test_what_was_committed_survives_a_killed_server_that_need_not_keep_it(
    postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    """The test server runs with synchronous_commit=off, as somebody's may."""
    database = Database(postgresql_url)
    async with database.write() as connection:
        await connection.run_sync(metadata.create_all)
    for number in range(1, 151):
        async with database.write() as connection:
            await connection.execute(insert(notes).values(id=number))
        if number % 50 == 0:
            postgresql_server.process.kill()
            await asyncio.to_thread(postgresql_server.process.start)
            async with database.read() as connection:
                kept = (await connection.execute(select(notes.c.id))).scalars()
                assert len(list(kept)) == number
    await database.close()


async def test_a_cancelled_write_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    inserted = asyncio.Event()

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(insert(notes).values(id=2, name="lost"))
            inserted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await inserted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as connection:
        await connection.execute(insert(notes).values(id=2, name="kept"))
    assert await names(database) == ["counter", "kept"]


async def test_a_reader_sees_what_is_committed_and_waits_for_no_writer(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(notes).values(id=2, name="new"))
        assert await names(database) == ["counter"]
    assert await names(database) == ["counter", "new"]


async def test_a_snapshot_stays_as_it_was(database: Database) -> None:
    async with database.snapshot() as connection:
        before = (await connection.execute(select(notes.c.name))).all()
        async with database.write() as writer:
            await writer.execute(insert(notes).values(id=2, name="new"))
        assert (await connection.execute(select(notes.c.name))).all() == before


async def test_locked_rows_are_changed_one_after_the_other(database: Database) -> None:
    async def increase() -> None:
        async with database.write() as connection:
            query = database.locked(select(notes.c.note).where(notes.c.id == 1))
            note = (await connection.execute(query)).scalar_one() or Note([])
            await asyncio.sleep(0)
            grown = Note([*note.words, "x"])
            await connection.execute(update(notes).where(notes.c.id == 1).values(note=grown))

    await asyncio.gather(*(increase() for _ in range(20)))
    async with database.read() as connection:
        assert (await connection.execute(select(notes.c.note).where(notes.c.id == 1))).scalar_one() == Note(
            ["x"] * 20
        )


async def test_two_processes_worth_of_writers_wait_for_each_other(database: Database, database_url: str) -> None:
    other = Database(database_url)

    async def add(target: Database, number: int) -> None:
        async with target.write() as connection:
            await connection.execute(insert(notes).values(id=number, name=str(number)))

    await asyncio.gather(*(add((database, other)[number % 2], number) for number in range(2, 42)))
    await other.close()
    assert len(await names(database)) == 41


async def test_many_rows_and_many_statements_go_through(database: Database) -> None:
    async with database.write() as connection:
        rows: list[dict[str, Any]] = [{"id": number, "name": f"n{number}"} for number in range(2, 5002)]
        await connection.execute(insert(notes), rows)
        result = await connection.execute(update(notes).where(notes.c.id > 1).values(note=Note([])))
        assert result.rowcount == 5000
    async with (
        database.snapshot() as connection,
        connection.stream(select(notes.c.id).order_by(notes.c.id)) as found,
    ):
        assert [row.id async for row in found] == list(range(1, 5002))


async def test_a_unique_name_is_kept_unique(database: Database) -> None:
    with pytest.raises(exc.IntegrityError):
        async with database.write() as connection:
            await connection.execute(insert(notes).values(id=2, name="counter"))
    await database.ping()


async def test_a_dead_server_is_unavailable_and_comes_back(
    postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    database = Database(postgresql_url)
    await database.ping()
    postgresql_server.process.kill()
    with pytest.raises(Unavailable):
        await database.ping()
    with pytest.raises(Unavailable):
        async with database.write():
            pass
    # Not in another thread: the server ends with the thread that started it.
    postgresql_server.process.start()
    await database.ping()
    async with database.write() as connection:
        await connection.execute(select(1))
    await database.close()


async def test_an_unreadable_file_is_unavailable(sqlite_url: str) -> None:
    database = Database(sqlite_url.replace("stoker.db", "no-folder/stoker.db"))
    with pytest.raises(Unavailable):
        await database.ping()
    await database.close()


@pytest.mark.parametrize(
    "url", ["sqlite:///relative.db", "sqlite://", "mysql://secret-password@host/x", "secret-password", ""]
)
async def test_other_urls_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_url(url)
    assert "secret-password" not in caught.value.message
    assert "sqlite:////" in caught.value.message
