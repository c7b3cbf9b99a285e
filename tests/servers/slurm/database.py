"""A private MariaDB for slurmdbd: own data folder, socket and port, nothing forced to disk."""

import secrets
import shutil
import subprocess
from pathlib import Path

from tests.servers.process import ServerNotUsableError, ServerProcess, program
from tests.servers.slurm.munge import dies_with_the_tests

_SETTINGS = {
    "bind-address": "127.0.0.1",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
    "innodb-log-file-size": "16M",
    "innodb-buffer-pool-size": "64M",
    "innodb-lock-wait-timeout": "900",  # slurmdbd complains about less
    "performance-schema": "OFF",
    "skip-log-bin": "",
    "skip-name-resolve": "",
}


class MariadbServer:
    """Start it once; `password` is that of the user `slurm`, who may do anything in `slurm_acct_db`."""

    def __init__(self, *, workspace: Path, folder: Path, port: int) -> None:
        self.password = secrets.token_hex(16)
        self._folder = folder / "mariadb"
        self._folder.mkdir(mode=0o700)
        # A server that starts removes what seems to be left over in the folder of temporary tables: others' too.
        self._temporary.mkdir()
        self._socket = self._folder / "mariadb.socket"
        self._initialise()
        first_words = self._folder / "first.sql"
        first_words.write_text(
            "CREATE DATABASE IF NOT EXISTS slurm_acct_db;\n"
            f"CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';\n"
        )
        settings = [f"--{name}={value}" if value else f"--{name}" for name, value in _SETTINGS.items()]
        command = [program("mariadbd", "mariadb-server"), "--no-defaults", "--user=root", *settings]
        command += [
            f"--datadir={self._data}",
            f"--tmpdir={self._temporary}",
            f"--socket={self._socket}",
            f"--port={port}",
        ]
        command += [f"--pid-file={self._folder / 'mariadb.pid'}", f"--init-file={first_words}"]
        self.process = ServerProcess(
            [*dies_with_the_tests(workspace), *command], log=self._folder / "server.log", is_ready=self._answers
        )

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _temporary(self) -> Path:
        return self._folder / "temporary"

    def _initialise(self) -> None:
        command = [program("mariadb-install-db", "mariadb-server"), "--no-defaults", "--user=root", "--skip-test-db"]
        command += [
            f"--datadir={self._data}",
            f"--tmpdir={self._temporary}",
            "--auth-root-authentication-method=normal",
        ]
        command += [f"--{name}={value}" for name, value in _SETTINGS.items() if name.startswith("innodb")]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(self._folder)
            raise ServerNotUsableError(f"mariadb-install-db failed: {done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        command = [program("mariadb-admin", "mariadb-client"), "--no-defaults", "--user=root"]
        command += [f"--socket={self._socket}", "ping"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
