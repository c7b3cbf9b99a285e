"""Stoker away from a cluster, which it reaches through SSH: nothing but sshd and a Python is there."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.line import Line
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.installation import PublicInstallation
from tests.servers.slurm.users import UnixUser
from tests.servers.sshd import SshServer, make_key
from tests.workshop.cluster_stack import ClusterStackSite


class SshSite(ClusterStackSite):
    """One cluster, its sshd behind a line, and one stack on the near side.

    The services have no program of SLURM in their PATH, and cannot look into the folders of jobs. A login finds this
    cluster's programs by the environment that sshd sets, as an image of a login host has them.
    """

    kind = "ssh"

    def __init__(
        self, cluster: SlurmCluster, installation: PublicInstallation, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(cluster, installation, environment)
        self.server = SshServer(environment={"PATH": cluster.commands.path})
        self.keys = self.service_user.home / f"keys-{self._tag}"
        self.keys.mkdir(mode=0o700)
        shutil.chown(self.keys, self.service_user.uid, self.service_user.gid)
        self._public_keys: dict[str, str] = {}
        self.line: Line
        self._lines: list[Line] = []

    @property
    def known_hosts(self) -> Path:
        """The file of the setting."""
        return self.folder / "known_hosts"

    def _environment(self) -> dict[str, str]:
        return {
            "STOKER_SSH_KNOWN_HOSTS": str(self.known_hosts),
            "STOKER_SSH_ANSWER_SECONDS": "2",
            "STOKER_RECONNECT_SECONDS": "2",
            "PATH": "/usr/bin:/bin",
        }

    def start(self) -> None:
        """Start sshd, let the scientists in, start the services, register the cluster."""
        self.server.process.start()
        self.line = self.new_line()
        for user in self.cluster.users.scientists:
            self.new_key(user)
        self.allow()
        self.stack.start()
        asyncio.run(self._register())

    def allow(self) -> None:
        """Admit this site's keys, in place of those of other sites: the users' homes are the same for all."""
        for user in self.cluster.users.scientists:
            self.server.admit(user, self._public_keys[user.name])

    def stop(self) -> None:
        self.stack.stop()
        for line in self._lines:
            line.close()
        self.server.close()

    def new_line(self) -> Line:
        """One more way to the host, which is known by it."""
        line = Line(self.server.port)
        self._lines.append(line)
        lines = [self.server.known_hosts_line(port=one.port) for one in self._lines]
        self.known_hosts.write_text("".join(lines))
        return line

    def new_key(self, user: UnixUser) -> str:
        """Make the key with which the services log in as this user, in place of any before; the public key's line."""
        fresh = self.keys / "new"
        public = make_key(fresh)
        fresh.with_suffix(".pub").unlink()
        shutil.chown(fresh, self.service_user.uid, self.service_user.gid)
        fresh.rename(self.key_path(user))
        self._public_keys[user.name] = public
        return public

    def key_path(self, user: UnixUser) -> Path:
        """Only the services' user can read it."""
        return self.keys / user.name

    def jobs_root(self, user: UnixUser) -> Path:
        """Below the user's home, which the services cannot look into."""
        return user.home / "remote jobs"

    def _own_resource_fields(self) -> dict[str, Any]:
        tasks = str(self.service_user.home / "tasks")
        return {"host": "127.0.0.1", "port": self.line.port, "tasks_local_dir": tasks}

    def _own_profile_fields(self, user: UnixUser) -> dict[str, Any]:
        return {
            "ssh_key_path": str(self.key_path(user)),
            "jobs_remote_dir": str(self.jobs_root(user)),
            "tasks_remote_dir": str(user.home / "remote tasks"),
        }
