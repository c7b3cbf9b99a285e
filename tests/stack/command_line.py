"""The command line as its users start it: a process with its words, its exit code, and what it printed."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.servers.slurm.users import UnixUser, supplementary_groups

COMMAND_SECONDS = 120.0


class RunsAs(NamedTuple):
    """A user, with an installation of Stoker that this user can run."""

    user: UnixUser
    python: str

    @property
    def identity(self) -> dict[str, Any]:
        """What subprocess is told of it."""
        return {"user": self.user.uid, "group": self.user.gid, "extra_groups": supplementary_groups(self.user)}


class Ran(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """`stoker` for one stack, which `settings` (its variables in the environment) lead to.

    `stoker` is the command of another installation than that of the tests.
    """

    def __init__(
        self, settings: Mapping[str, str], runs_as: RunsAs | None = None, *, stoker: Sequence[str] = ()
    ) -> None:
        self.python = sys.executable if runs_as is None else runs_as.python
        self.stoker = list(stoker) or [self.python, "-P", "-m", "stoker"]
        self.identity: dict[str, Any] = {} if runs_as is None else runs_as.identity
        ours = os.environ if runs_as is None else runs_as.user.environment
        # Settings of whoever runs the tests lead elsewhere.
        own = {name: value for name, value in ours.items() if not name.startswith("STOKER_")}
        self.environment = {**own, "NO_COLOR": "1", **settings}

    def run(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Ran:
        """Run a `stoker` command to its end."""
        ended = subprocess.run(
            [*self.stoker, *arguments],
            env={**self.environment, **(environment or {})},
            input=stdin,
            **self.identity,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))

    def json(self, *arguments: str, stdin: bytes = b"") -> Any:
        """Run a `stoker` command that must succeed, with --json in front of the command's own arguments."""
        words = list(arguments)
        place = words.index("--") if "--" in words else len(words)
        ran = self.run(*words[:place], "--json", *words[place:], stdin=stdin)
        assert ran.code == 0, ran
        return ran.json

    def start_command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a `stoker` command that goes on; the test ends it."""
        return subprocess.Popen(
            [*self.stoker, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self.identity,
        )
