"""One database: SQLite (aiosqlite) or PostgreSQL (psycopg), SQLAlchemy Core, no ORM."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal

from sqlalchemy import Select, event, exc, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.service.database.sqlite import OneHopConnection
from stoker.errors import Invalid, Unavailable

Dialect = Literal["sqlite", "postgresql"]

_CONNECT_TIMEOUT_SECONDS = 10
_POOL_TIMEOUT_SECONDS = 10
# A server that has gone without a word (its host, or the line to it) is noticed within a minute.
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def parse_url(url: str) -> tuple[Dialect, URL]:
    """Return the dialect and SQLAlchemy's URL (without a driver) of `sqlite:////abs/path.db` or `postgresql://…`.

    Raises Invalid, without the URL in its message: it may hold a password.
    """
    valid = "a valid one is sqlite:////absolute/path.db or postgresql://user:password@host/database"
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise Invalid(f"this is not a database URL; {valid}") from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        if not parsed.database or not parsed.database.startswith("/"):
            raise Invalid(f"an SQLite database needs an absolute path; {valid}")
        return "sqlite", parsed.set(drivername="sqlite")
    if kind in {"postgresql", "postgres"}:
        return "postgresql", parsed.set(drivername="postgresql")
    raise Invalid(f"the database must be SQLite or PostgreSQL; {valid}")


class Database:
    """Connections to one database, made when first needed.

    Reads run outside transactions: each statement sees what was committed when it began, which costs no BEGIN
    and no ROLLBACK. What must agree over several statements is read inside `write()` or `snapshot()`.
    """

    def __init__(self, url: str, *, readers: int = 8, writers: int = 8) -> None:
        self.dialect: Dialect
        self.dialect, parsed = parse_url(url)
        if self.dialect == "sqlite":
            self._reader = _sqlite_engine(parsed, size=min(readers, 4), begin=None)
            self._writer = _sqlite_engine(parsed, size=1, begin="BEGIN IMMEDIATE")
            self._snapshots = _sqlite_engine(parsed, size=2, begin="BEGIN")
            # SQLite has one writer: waiting here is fair; its own busy handler sleeps and tries again.
            self._write_lock: asyncio.Lock | None = asyncio.Lock()
        else:
            self._reader = _postgresql_engine(parsed, size=readers, isolation_level="AUTOCOMMIT")
            self._writer = _postgresql_engine(parsed, size=writers, isolation_level="READ COMMITTED")
            self._snapshots = _postgresql_engine(parsed, size=2, isolation_level="REPEATABLE READ")
            self._write_lock = None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for reading. Raises Unavailable when the database does not answer."""
        with _translated():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection on which all reads see the same state; `stream()` needs one."""
        with _translated():
            async with self._snapshots.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in one transaction, committed at exit, rolled back on any exception.

        Raises Unavailable when the database does not answer (the commit may have taken effect). Integrity
        errors come through as SQLAlchemy's: the caller knows what they mean.
        """
        async with AsyncExitStack() as stack:
            if self._write_lock is not None:
                await stack.enter_async_context(self._write_lock)
            stack.enter_context(_translated())
            yield await stack.enter_async_context(self._writer.begin())

    def locked(self, select: Select[Any], *, skip: bool = False) -> Select[Any]:
        """Add FOR UPDATE (SKIP LOCKED) where rows can be locked; SQLite's writer is alone anyway."""
        return select if self.dialect == "sqlite" else select.with_for_update(skip_locked=skip)

    async def ping(self) -> None:
        """Raise Unavailable when the database does not answer."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections; the object can be used again afterwards."""
        for engine in (self._reader, self._snapshots, self._writer):
            await engine.dispose()


def _sqlite_engine(url: URL, *, size: int, begin: str | None) -> AsyncEngine:
    path = url.database or ""
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        connect_args={"async_creator_fn": lambda *_, **__: OneHopConnection(path)},
        pool_size=size,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_SECONDS,
        hide_parameters=True,
    )
    if begin is not None:
        # The driver is in autocommit (see open_sqlite); the dialect begins nothing by itself.
        event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _postgresql_engine(
    url: URL, *, size: int, isolation_level: Literal["AUTOCOMMIT", "READ COMMITTED", "REPEATABLE READ"]
) -> AsyncEngine:
    engine = create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_SECONDS, **_KEEPALIVES},
        isolation_level=isolation_level,
        skip_autocommit_rollback=True,
        pool_size=size,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_SECONDS,
        # One round trip more, and no request ever fails for a connection that died while it lay in the pool.
        pool_pre_ping=True,
        hide_parameters=True,
    )
    if isolation_level == "READ COMMITTED":
        event.listen(engine.sync_engine, "connect", _make_commits_durable)
    return engine


def _make_commits_durable(connection: DBAPIConnection, _: object) -> None:
    # What was committed has been acted on: a launch, an event that was told. A server that answers before it has
    # written (synchronous_commit=off) forgets such commits when it dies. Stricter settings than `on` are left alone.
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.commit()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise Unavailable("the database did not answer", retry_after_seconds=1) from error
    except exc.DataError as error:
        raise Invalid("a value cannot be stored: a NUL character, or a number out of range") from error
