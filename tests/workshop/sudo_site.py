"""Stoker as an operator installs it beside a cluster: services of an unprivileged user, the agent, one sudo rule."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.pipes.sudo.sudoers import sudoers_rule
from shared.remote.bundle import agent_source
from tests.servers.slurm.accounts import DEFAULT_ACCOUNT
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.installation import PublicInstallation
from tests.servers.slurm.users import UnixUser
from tests.workshop.cluster_stack import SYSTEM_PYTHON, ClusterStackSite

__all__ = ["SYSTEM_PYTHON", "SudoSite"]


class SudoSite(ClusterStackSite):
    """One cluster and one stack beside it. `environment` goes to all services."""

    kind = "sudo"

    def __init__(
        self, cluster: SlurmCluster, installation: PublicInstallation, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(cluster, installation, environment)
        self.agent_file.write_bytes(agent_source())
        self.agent_file.chmod(0o755)
        self.tasks_dir = self.folder / "tasks"
        self.tasks_dir.mkdir(mode=0o755)
        shutil.chown(self.tasks_dir, self.service_user.uid, self.service_user.gid)

    @property
    def agent_file(self) -> Path:
        """The installed agent."""
        return self.folder / "agent.py"

    def _environment(self) -> dict[str, str]:
        return {"STOKER_AGENT_FILE": str(self.agent_file), "PATH": self.cluster.commands.path}

    def start(self) -> None:
        """Allow the one command, start the services, register the cluster."""
        self.allow()
        self.stack.start()
        asyncio.run(self._register())

    def allow(self, python: str = SYSTEM_PYTHON) -> None:
        """Write the documented rule: for this site's agent, in place of any other site's on this cluster."""
        rule = sudoers_rule(self.service_user.name, [f"%{self.cluster.users.group}"], python, str(self.agent_file))
        self.allow_by(rule)

    def allow_by(self, rule: str) -> None:
        """Write a rule in place of this site's."""
        self.cluster.sudoers.write(self._rule_name, f"{rule}\n")
        self.cluster.lead_sudo_here(rule.partition("NOSETENV: ")[2])

    def forbid(self) -> None:
        """Take the rule away. Agents that run go on."""
        self.cluster.sudoers.remove(self._rule_name)

    @property
    def _rule_name(self) -> str:
        return f"services-{self.cluster.folder.name}"

    def stop(self) -> None:
        self.stack.stop()
        self.forbid()

    def _own_resource_fields(self) -> dict[str, Any]:
        return {"tasks_local_dir": str(self.tasks_dir)}

    def newcomer(self, short_name: str, *, account: str | None = DEFAULT_ACCOUNT, **more: Any) -> UnixUser:
        """One more scientist, in an account where the cluster keeps any."""
        user = self.cluster.users.create(short_name, **more)
        if account is not None and self.cluster.daemons.accounting is not None:
            words = (user.name, f"account={account}", f"DefaultAccount={account}")
            self.cluster.administer("sacctmgr", "-i", "-Q", "add", "user", *words)
        return user

    def jobs_root(self, user: UnixUser) -> Path:
        """Below the user's home, which the services cannot look into."""
        return user.home / "stoker/jobs"
