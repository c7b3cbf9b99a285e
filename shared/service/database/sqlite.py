"""aiosqlite with one hop to its thread per statement.

aiosqlite runs every call (cursor, execute, fetchall, close, rollback) on the connection's own thread, and
each hop costs some 75 µs: a read of one row by primary key through SQLAlchemy took 460 µs, of which SQLite
needs 10. Here a statement and the fetching of its rows are one hop, and what does not touch the database is
none: 215 µs.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Self

import aiosqlite
from aiosqlite.core import _STOP_RUNNING_SENTINEL

BUSY_TIMEOUT_SECONDS = 10
# FULL: a commit survives a power cut (WAL with NORMAL may forget the last ones). It costs one fsync per write
# transaction; reads pay nothing.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
)


def open_sqlite(path: str) -> sqlite3.Connection:
    """Return a connection in driver-level autocommit: transactions begin where the text BEGIN is executed."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()
    return connection


class _Cursor:
    """As much of a cursor as SQLAlchemy's adapter calls; all rows are fetched where the statement runs."""

    arraysize = 1

    def __init__(self, connection: "OneHopConnection") -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    def _run(self, sql: str, parameters: Any, many: bool) -> None:  # noqa: FBT001 - private
        raw = self._connection.raw.cursor()
        try:
            (raw.executemany if many else raw.execute)(sql, parameters)
            self.description = raw.description
            self._rows = raw.fetchall() if raw.description else []
            self.rowcount, self.lastrowid = raw.rowcount, raw.lastrowid
        finally:
            raw.close()

    async def execute(self, sql: str, parameters: Any = ()) -> "_Cursor":
        await self._connection.hop(self._run, sql, parameters, False)  # noqa: FBT003
        return self

    async def executemany(self, sql: str, parameters: Any) -> "_Cursor":
        await self._connection.hop(self._run, sql, parameters, True)  # noqa: FBT003
        return self

    async def fetchall(self) -> Sequence[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        count = size or self.arraysize
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    async def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    async def close(self) -> None:
        self._rows = []


class OneHopConnection(aiosqlite.Connection):
    """The connection that SQLAlchemy's aiosqlite dialect is given (its `async_creator_fn`)."""

    def __init__(self, path: str) -> None:
        super().__init__(lambda: open_sqlite(path), 64)
        # As SQLAlchemy does for its own: a connection that nobody closed must not keep the process alive.
        self._thread.daemon = True

    def stop(self) -> None:
        """Close the connection on its thread, soon, and end the thread; nobody is told when.

        The library's own tells the event loop, which may be closed by then: the thread would die of it.
        """

        def close_and_stop() -> object:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return _STOP_RUNNING_SENTINEL

        self._running = False
        self._tx.put_nowait((None, close_and_stop))

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection itself, for functions that run on its thread."""
        return self._conn

    async def hop(self, function: Any, *arguments: Any) -> Any:
        """Run a function on the connection's thread."""
        return await self._execute(function, *arguments)  # type: ignore[no-untyped-call]

    def cursor(self) -> _Cursor:  # type: ignore[override]
        """Return a cursor, without a hop."""
        return _Cursor(self)

    async def rollback(self) -> None:
        """Roll back, where a transaction is open."""
        if self._conn.in_transaction:
            await super().rollback()

    async def commit(self) -> None:
        """Commit, where a transaction is open."""
        if self._conn.in_transaction:
            await super().commit()
