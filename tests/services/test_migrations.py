"""Schemas go forward and back on both kinds of database, and are what the code expects."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect
from sqlalchemy.pool import NullPool

from services.executor.repositories.migrations import LOCATION as EXECUTOR
from services.executor.repositories.tables import metadata as executor_tables
from services.registry.migrations import LOCATION as REGISTRY
from services.registry.tables import metadata as registry_tables
from shared.service.database.migrations import downgrade, require_head, upgrade, version_table
from shared.service.database.transactions import parse_url
from stoker.errors import Conflict, Invalid, Unavailable

SERVICES = [
    pytest.param(REGISTRY, registry_tables, id="registry"),
    pytest.param(EXECUTOR, executor_tables, id="executor"),
]
pytestmark = pytest.mark.both_databases
both = pytest.mark.parametrize(("location", "metadata"), SERVICES)


def tables_in(url: str) -> set[str]:
    dialect, parsed = parse_url(url)
    driver = "sqlite" if dialect == "sqlite" else "postgresql+psycopg"
    engine = create_engine(parsed.set(drivername=driver), poolclass=NullPool)
    return set(inspect(engine).get_table_names())


@both
def test_the_schema_is_what_the_code_expects(database_url: str, location: Path, metadata: MetaData) -> None:
    upgrade(database_url, location)
    upgrade(database_url, location)
    dialect, parsed = parse_url(database_url)
    driver = "sqlite" if dialect == "sqlite" else "postgresql+psycopg"
    engine = create_engine(parsed.set(drivername=driver), poolclass=NullPool)
    with engine.connect() as connection:
        options = {"version_table": version_table(location), "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    require_head(database_url, location, mend="mend it")


@both
def test_it_goes_back_and_forward_again(database_url: str, location: Path, metadata: MetaData) -> None:
    upgrade(database_url, location)
    assert set(metadata.tables) <= tables_in(database_url)
    downgrade(database_url, location)
    assert set(metadata.tables) & tables_in(database_url) == set()
    with pytest.raises(Conflict, match="mend it"):
        require_head(database_url, location, mend="mend it")
    upgrade(database_url, location)
    require_head(database_url, location, mend="mend it")


@pytest.mark.parametrize(
    ("service", "location", "revision"), [("registry", REGISTRY, "base"), ("executor", EXECUTOR, "0002")]
)
def test_the_command_takes_a_schema_back_and_forward_again(
    sqlite_url: str, service: str, location: Path, revision: str
) -> None:
    def migrate(*arguments: str) -> None:
        command = [sys.executable, "-m", f"services.{service}", "migrate", *arguments]
        subprocess.run(command, env=os.environ | {"STOKER_DATABASE_URL": sqlite_url}, check=True, capture_output=True)

    migrate()
    migrate("--back-to", revision)
    with pytest.raises(Conflict, match="mend it"):
        require_head(sqlite_url, location, mend="mend it")
    migrate()
    require_head(sqlite_url, location, mend="mend it")


def test_two_services_may_share_one_database(database_url: str) -> None:
    upgrade(database_url, REGISTRY)
    with pytest.raises(Conflict, match="missing"):
        require_head(database_url, EXECUTOR, mend="mend it")
    upgrade(database_url, EXECUTOR)
    downgrade(database_url, EXECUTOR)
    require_head(database_url, REGISTRY, mend="mend it")


def test_a_database_of_a_newer_version_is_left_alone(sqlite_url: str) -> None:
    upgrade(sqlite_url, REGISTRY)
    engine = create_engine(sqlite_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE registry_schema SET version_num = 'r9999'")
    with pytest.raises(Conflict, match="newer"):
        require_head(sqlite_url, REGISTRY, mend="mend it")


def test_a_missing_folder_and_a_missing_server_are_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no folder"):
        upgrade(f"sqlite:///{tmp_path}/none/x.db", REGISTRY)
    with pytest.raises(Unavailable):
        upgrade("postgresql://somebody:secret-password@127.0.0.1:1/x", REGISTRY)
