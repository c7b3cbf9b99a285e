"""The executor's migrations make exactly the tables that the code uses."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine

from services.executor.repositories.migrations import LOCATION
from services.executor.repositories.tables import metadata
from shared.service.database.migrations import downgrade, upgrade

pytestmark = pytest.mark.both_databases


def connected(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def test_migrations_and_tables_do_not_differ(database_url: str) -> None:
    upgrade(database_url, LOCATION)
    engine = connected(database_url)
    with engine.connect() as connection:
        options = {"version_table": "executor_schema", "compare_server_default": True, "compare_type": True}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        rows = connection.execute(text("SELECT id, last_position FROM stream")).all()
    engine.dispose()
    assert found == []
    assert [tuple(row) for row in rows] == [(1, 0)]


def test_the_schema_goes_down_and_up_again(database_url: str) -> None:
    upgrade(database_url, LOCATION)
    downgrade(database_url, LOCATION)
    engine = connected(database_url)
    assert set(inspect(engine).get_table_names()) <= {"executor_schema"}
    upgrade(database_url, LOCATION)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())
    engine.dispose()
