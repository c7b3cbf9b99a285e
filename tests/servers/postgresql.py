"""A private PostgreSQL from Debian's package, without fsync, on a port and a data folder of its own."""

import itertools
import os
import pwd
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers.folders import PrivateFolder
from tests.servers.process import ServerNotUsableError, ServerProcess, free_port, program

SUPERUSER = "stoker"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def _newest_programs() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def _as_unprivileged_user() -> tuple[list[str], int | None]:
    """PostgreSQL refuses to run as root: the words to put before its commands, and the owner of its folder."""
    if os.geteuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        setpriv = program("setpriv", "util-linux")
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return [setpriv, *ids, "--pdeathsig=INT"], user.pw_uid
    raise ServerNotUsableError("no unprivileged user (postgres, nobody) to run PostgreSQL as")


class PostgresqlServer:
    """Start it once and ask it for a new database as often as needed; `close` removes everything."""

    def __init__(self) -> None:
        self._programs = _newest_programs()
        self._prefix, owner = _as_unprivileged_user()
        self._private = PrivateFolder("stoker-postgresql-")
        self._folder = self._private.path
        if owner is not None:
            os.chown(self._folder, owner, -1)
        self._names = (f"test_{number}" for number in itertools.count(1))
        self.port = free_port()
        self._initialise()
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        self.process = ServerProcess(
            [*self._command("postgres"), "-D", str(self._data), "-p", str(self.port), *settings],
            log=self._folder / "server.log",
            is_ready=self._answers,
            stop_signal=signal.SIGINT,  # a "fast" stop: open connections are ended
        )

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _command(self, name: str) -> list[str]:
        return [*self._prefix, program(name, "postgresql", folders=self._programs)]

    def _initialise(self) -> None:
        command = [*self._command("initdb"), "-D", str(self._data), "--no-sync", "--auth=trust"]
        command += [f"--username={SUPERUSER}", "--encoding=UTF8", "--locale=C.UTF-8"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerNotUsableError(f"initdb failed: {done.stderr}")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def create_database(self) -> str:
        """Name of a new, empty database."""
        name = next(self._names)
        self._execute("CREATE DATABASE {}", name)
        return name

    def drop_database(self, name: str) -> None:
        """Remove it, whoever is still connected."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: str, name: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def close(self) -> None:
        self.process.stop()
        self._private.remove()
