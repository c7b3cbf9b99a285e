"""The test servers themselves: fresh, private, and able to come back after a kill."""

import os

import psycopg
import pytest

from tests.servers.folders import PrivateFolder
from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import RedisServer


def _tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("_again", [1, 2])
def test_each_test_gets_an_empty_database(postgresql_url: str, _again: int) -> None:
    assert _tables(postgresql_url) == 0
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE leftover (id integer)")
    assert _tables(postgresql_url) == 1


def test_a_killed_postgresql_comes_back_on_the_same_address(
    postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    postgresql_server.process.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgresql_url, connect_timeout=5)
    postgresql_server.process.start()
    assert _tables(postgresql_url) == 0


def test_a_killed_redis_comes_back_on_the_same_address(redis_server: RedisServer) -> None:
    first = redis_server.process.pid
    redis_server.process.kill()
    assert not redis_server.process.running
    redis_server.process.start()
    assert redis_server.process.pid != first


@pytest.mark.both_databases
def test_a_database_is_given_for_each_kind(database_url: str) -> None:
    assert database_url.startswith(("sqlite:////", "postgresql://"))


def test_folders_of_killed_test_runs_are_removed_and_those_in_use_are_not() -> None:
    prefix = f"stoker-test-{os.getpid()}-"
    in_use, abandoned = PrivateFolder(prefix), PrivateFolder(prefix)
    abandoned._lock.close()  # as when its process is killed
    for folder in (in_use, abandoned):
        os.utime(folder.path, (0, 0))
    another = PrivateFolder(prefix)
    assert (in_use.path.exists(), abandoned.path.exists()) == (True, False)
    another.remove()
    in_use.remove()
    assert not in_use.path.exists()
