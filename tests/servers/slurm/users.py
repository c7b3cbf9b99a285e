"""UNIX users of one run: the one that runs services, and scientists whose homes nobody else can read."""

import os
import pwd
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import ServerNotUsableError
from tests.servers.slurm.workspace import Workspace


@dataclass(frozen=True)
class UnixUser:
    """One user; `environment` is what a login gives, without anything of the test process."""

    name: str
    uid: int
    gid: int
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
        }


class ClusterUsers:
    """`stoker` runs services and is in no group of theirs; `ada` and `grace` are scientists in `group`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._homes = workspace.folder / "homes"
        self._homes.mkdir(mode=0o755)
        self._homes.chmod(0o755)
        self.group = f"{workspace.name_prefix}users"
        _account_tool("groupadd", self.group)
        self.stoker = self.create("stoker", scientist=False)
        self.ada = self.create("ada")
        self.grace = self.create("grace")

    @property
    def scientists(self) -> tuple[UnixUser, UnixUser]:
        return self.ada, self.grace

    def create(
        self, short_name: str, *, scientist: bool = True, shell: str = "/bin/bash", suffix: str = ""
    ) -> UnixUser:
        """One more user, whose home has mode 0700; removed with the workspace.

        `suffix` ends the name, and may hold what names of directories hold: backslashes, letters of any script.
        """
        name = f"{self._workspace.name_prefix}{short_name}{suffix}"
        home = self._homes / short_name
        options = ["--create-home", f"--home-dir={home}", f"--shell={shell}", "--no-log-init", "--user-group"]
        # No ranges of further ids: nothing to be removed elsewhere.
        options += ["--key=SUB_UID_COUNT=0", "--key=SUB_GID_COUNT=0", "--key=HOME_MODE=0700"]
        if suffix:
            options += ["--badname"]
        if scientist:
            options += [f"--groups={self.group}"]
        _account_tool("useradd", *options, name)
        entry = pwd.getpwnam(name)
        home.chmod(0o700)
        return UnixUser(name=name, uid=entry.pw_uid, gid=entry.pw_gid, home=home)


def supplementary_groups(user: UnixUser) -> list[int]:
    return os.getgrouplist(user.name, user.gid)


def _account_tool(name: str, *arguments: str) -> None:
    for _ in range(100):
        done = subprocess.run([f"/usr/sbin/{name}", *arguments], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if "try again later" not in done.stderr:
            raise ServerNotUsableError(f"{name}: {done.stderr.strip()}")
        time.sleep(0.05)
    raise ServerNotUsableError(f"{name}: the account files stayed locked")
