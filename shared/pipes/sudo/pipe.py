"""The pipe of `slurm_sudo`: one fixed command, an installed agent that sudo starts as the scientist.

The sudoers rule (`sudoers`) names exactly this command. Nothing is passed by environment, and the agent takes
nothing over.
"""

import os
import re

from shared.pipes.child import ChildPipe, start_child
from shared.pipes.errors import PipeLost
from shared.pipes.sudo.errors import why_no_agent
from shared.pipes.sudo.sudoers import agent_command
from stoker.errors import Invalid

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USER = re.compile(r"\w[\w.@\\-]*\$?")


class SudoPipe:
    """A pipe whose silence is explained: what sudo or the interpreter said, and what mends it."""

    def __init__(self, child: ChildPipe, user: str, python: str, agent_file: str) -> None:
        self._child = child
        self._user = user
        self._python = python
        self._agent_file = agent_file
        self._spoken = False

    async def read(self) -> bytes:
        """Return some bytes, b"" at the end. PipeLost with the reason where no agent was started."""
        data = await self._child.read()
        if not data and not self._spoken:
            raise PipeLost(await self._why())
        self._spoken = True
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._child.write(data)

    async def close(self) -> None:
        """End the agent, and sudo with it."""
        await self._child.close()

    async def diagnosis(self) -> str:
        """Return the last words on standard error."""
        return await self._child.diagnosis()

    async def _why(self) -> str:
        return why_no_agent(await self._child.diagnosis(), self._user, self._python, self._agent_file)


async def open_sudo_pipe(user: str, *, python: str, agent_file: str) -> SudoPipe:
    """Have sudo start the installed agent as `user`.

    Raises Invalid for what is not the name of a user other than root, Unavailable where there is no sudo. What sudo
    refuses is told by the first `read`.
    """
    if not _USER.fullmatch(user) or user == "root":
        raise Invalid(f"no agent can be started as {user!r}")
    command = ["sudo", "-n", "-u", user, "--", *agent_command(python, agent_file)]
    # English, so that what sudo says can be told apart.
    environment = {"PATH": os.environ.get("PATH") or DEFAULT_PATH, "LC_ALL": "C"}
    try:
        child = await start_child(command, environment)
    except FileNotFoundError as error:
        raise PipeLost("sudo is not installed on this host; mend it with: apt-get install sudo") from error
    return SudoPipe(child, user, python, agent_file)
