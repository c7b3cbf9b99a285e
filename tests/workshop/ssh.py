"""A cluster's login host as a service sees it: a real sshd, a line in between, keys, and connections to open."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from shared.pipes import AgentConnection, AgentPool, roots_of
from shared.pipes.ssh import SshLimits, open_ssh_pipe
from stoker.contracts.holds import Connection
from stoker.contracts.profiles import Profile, SlurmSshProfileSpec
from stoker.contracts.resources import (
    BatchingConfig,
    PythonConfig,
    Resource,
    SlurmConfig,
    SlurmRunnerConfig,
    SlurmSshResourceSpec,
)
from tests.servers.line import Line
from tests.servers.process import program
from tests.servers.slurm.users import ClusterUsers, UnixUser
from tests.servers.sshd import SshServer, make_key

PYTHON = "/usr/bin/python3"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHORT = SshLimits(connect=5, banner=2, login=10, channel=5, first_word=20, open=30, quiet=0.5, answer=1.5)
"""A silent line is found out soon; what works is given time."""


class SshWorkshop:
    """`server` is reached through `line`; `known_hosts` knows it; `key` is the profile's."""

    def __init__(self, users: ClusterUsers, *, host_keys: Sequence[str] = ("ed25519",)) -> None:
        self.users = users
        self.server = SshServer(host_keys=host_keys)
        self.folder = self.server.folder
        self.known_hosts = self.folder / "known_hosts"
        self.key = self.folder / "key"
        self.public_key = make_key(self.key)
        self._users = [users.ada]
        self._lines: list[Line] = []

    def start(self) -> None:
        self.server.process.start()
        self.line = self.new_line(self.server.port)
        self.trust()
        self.server.admit(self.users.ada, self.public_key)

    def new_line(self, port: int) -> Line:
        self._lines.append(Line(port))
        return self._lines[-1]

    def trust(self) -> None:
        """Know the host, directly and through the line."""
        lines = [self.server.known_hosts_line(port=port) for port in (self.server.port, self.line.port)]
        self.known_hosts.write_text("".join(lines))

    def user(self, name: str, shell: str = "/bin/bash") -> UnixUser:
        """One more user who may log in, made once per test run."""
        program(Path(shell).name, Path(shell).name)
        user = self.users.create(name, shell=shell)
        self._users.append(user)
        self.server.admit(user, self.public_key)
        return user

    def connection(self, user: UnixUser | None = None, *, version: int = 1, **changes: Any) -> Connection:
        """To `user` (ada); changes are fields of resource (`host`, …) and profile (`ssh_key_path`, …)."""
        home = (user or self.users.ada).home
        profile = {
            "username": (user or self.users.ada).name,
            "ssh_key_path": str(self.key),
            "jobs_remote_dir": str(home / "jobs"),
            "tasks_remote_dir": str(home / "tasks"),
        }
        profile.update({name: changes.pop(name) for name in tuple(changes) if name in profile})
        resource = {"host": f"127.0.0.1:{self.line.port}", "jobs_slurm_python_worker": PYTHON, **changes}
        config = SlurmRunnerConfig(
            default_slurm_config=SlurmConfig(),
            batching_config=BatchingConfig(
                target_cpus_per_job=1,
                max_cpus_per_job=1,
                target_mem_per_job=1,
                max_mem_per_job=1,
                target_num_jobs=1,
                max_num_jobs=1,
            ),
        )
        spec = SlurmSshResourceSpec(
            name="cluster",
            jobs_local_dir="/nowhere",
            tasks_local_dir="/nowhere",
            tasks_python_config=PythonConfig(default_version="3", versions={"3": PYTHON}),
            jobs_runner_config=config,
            **resource,
        )
        common: Any = {"version": version, "created_at": _NOW, "updated_at": _NOW}
        return Connection(
            resource=Resource(id="r", name="cluster", type="slurm_ssh", spec=spec, **common),
            profile=Profile(
                id=profile["username"],
                resource_id="r",
                name="person",
                resource_type="slurm_ssh",
                spec=SlurmSshProfileSpec(name="person", **profile),
                **common,
            ),
        )

    async def agent(
        self, connection: Connection | None = None, *, limits: SshLimits = SHORT, answer_seconds: float = 30.0
    ) -> AgentConnection:
        """A new pipe with an agent at its end."""
        connection = connection or self.connection()
        pipe = await open_ssh_pipe(connection, str(self.known_hosts), limits)
        return await AgentConnection.open(pipe, roots_of(connection), answer_timeout_seconds=answer_seconds)

    def pool(self, **options: Any) -> AgentPool:
        return AgentPool(
            opener=partial(open_ssh_pipe, known_hosts=str(self.known_hosts), limits=SHORT),
            first_delay_seconds=0.05,
            longest_delay_seconds=0.2,
            **options,
        )

    def close(self) -> None:
        for line in self._lines:
            line.close()
        self.server.close()
        for user in self._users:
            for entry in user.home.iterdir() if user.home.is_dir() else ():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


def files_below(folder: Path) -> list[str]:
    """Names of all files and folders, relative."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
