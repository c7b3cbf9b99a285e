"""Databases with a service's schema: it is brought up once in each test process, then copied."""

import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from shared.service.database.migrations import upgrade, version_table
from shared.service.database.transactions import parse_url

_files: dict[Path, bytes] = {}
"""What an SQLite file of each schema begins with."""


def with_schema(url: str, location: Path) -> None:
    """Give an empty database the newest schema; nothing happens where it has one.

    For tests of services, which begin with a schema each. The migrations have tests of their own.
    """
    dialect, parsed = parse_url(url)
    if dialect == "sqlite":
        _copy_file(Path(parsed.database or ""), location)
    else:
        _copy_database(url, location)


def _copy_file(file: Path, location: Path) -> None:
    if file.exists():
        return
    if location not in _files:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "stoker.db"
            upgrade(f"sqlite:///{made}", location)
            _files[location] = made.read_bytes()
    file.write_bytes(_files[location])


def _copy_database(url: str, location: Path) -> None:
    server, _, name = url.rpartition("/")
    with psycopg.connect(url) as connection:
        [[version]] = connection.execute("SELECT to_regclass(%s)", [version_table(location)]).fetchall()
        if version is not None:
            return
    template = f"template_{version_table(location)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template]).fetchall()
        if not known:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
            upgrade(f"{server}/{template}", location)
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
