"""Bringing a database's schema to a revision (Alembic), and refusing to run on another one.

Each service has a folder with its migrations, whose `env.py` calls `run_environment`. All functions here block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, exc, text
from sqlalchemy.pool import NullPool

from shared.service.database.sqlite import open_sqlite
from shared.service.database.transactions import parse_url
from stoker.errors import Conflict, Invalid, Unavailable

# One key for all services: migrations of one PostgreSQL server wait for each other, which harms nobody.
_ADVISORY_LOCK = 0x53746F6B6572


def upgrade(url: str, script_location: Path | str, revision: str = "head") -> None:
    """Bring the schema forward to a revision; nothing happens when it is there. An SQLite file is made if missing.

    Raises Invalid for a URL that is none, Unavailable when the database does not answer.
    """
    with _locked(url) as connection:
        command.upgrade(_config(script_location, connection), revision)


def downgrade(url: str, script_location: Path | str, revision: str = "base") -> None:
    """Bring the schema back to a revision. What later revisions stored is lost."""
    with _locked(url) as connection:
        command.downgrade(_config(script_location, connection), revision)


def require_head(url: str, script_location: Path | str, *, mend: str) -> None:
    """Raise Conflict, which names the command that mends it (`mend`), unless the schema is the newest."""
    script = ScriptDirectory.from_config(_config(script_location, None))
    with _connected(url) as connection:
        found = MigrationContext.configure(
            connection, opts={"version_table": version_table(script_location)}
        ).get_current_revision()
    wanted = script.get_current_head()
    if found == wanted:
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        raise Conflict(f"the database was made by a newer version of this program (revision {found})")
    raise Conflict(f"the database schema is {'missing' if found is None else 'older'}; bring it up with: {mend}")


def run_environment(metadata: MetaData) -> None:
    """Run what Alembic was asked for; the whole content of a service's `env.py`."""
    config = context.config
    context.configure(
        connection=config.attributes["connection"],
        target_metadata=metadata,
        version_table=config.attributes["version_table"],
        # SQLite changes a table by copying it.
        render_as_batch=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def version_table(script_location: Path | str) -> str:
    """Where a schema's revision is kept.

    Named after the service (services/NAME/…/migrations), so that services may share one database.
    """
    location = Path(script_location).resolve()
    *_, name, inside = str(location).rpartition("/services/")
    return f"{inside.split('/')[0] if name else location.parent.name}_schema"


def _config(script_location: Path | str, connection: Connection | None) -> Config:
    config = Config()
    # Alembic expands % in options.
    config.set_main_option("script_location", str(script_location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table(script_location)
    return config


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    """Yield a connection in a transaction that only one process at a time can be in."""
    with _connected(url) as connection:
        if connection.dialect.name == "sqlite":
            # Altering a table copies it: foreign keys would see it gone. It cannot be set inside a transaction.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection
        connection.commit()


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    dialect, parsed = parse_url(url)
    if dialect == "sqlite":
        path = parsed.database or ""
        if not Path(path).parent.is_dir():
            raise Invalid(f"there is no folder {Path(path).parent} for the database")
        engine = create_engine(parsed, creator=lambda: open_sqlite(path), poolclass=NullPool)
    else:
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args={"connect_timeout": 10},
            hide_parameters=True,
        )
    try:
        with engine.connect() as connection:
            yield connection
    except exc.OperationalError as error:
        raise Unavailable(f"the database did not answer: {error.orig}") from error
    finally:
        engine.dispose()
