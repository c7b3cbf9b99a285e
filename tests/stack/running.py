"""A real stack, started as a user starts it, whose processes a test may kill; and the command line for it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from shared.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.stack import leash
from stoker.stack.state_folder import StackRecord, StateFolder
from tests.servers.slurm.users import UnixUser, supplementary_groups

ProcessName = Literal["redis", "registry", "executor", "poller"]
PROCESSES: tuple[ProcessName, ...] = ("redis", "registry", "executor", "poller")

START_SECONDS = 90.0
COMMAND_SECONDS = 120.0


class RunsAs(NamedTuple):
    """The user that a stack runs as, with an installation that this user can run."""

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


class RunningStack:
    """`stoker up` in a folder of its own, on free ports. Not shared between tests that kill its processes."""

    def __init__(
        self, folder: Path, *, environment: Mapping[str, str] | None = None, runs_as: RunsAs | None = None
    ) -> None:
        self.folder = StateFolder(folder)
        self._python = sys.executable if runs_as is None else runs_as.python
        self._stoker = [self._python, "-P", "-m", "stoker"]
        self._identity: dict[str, Any] = {} if runs_as is None else runs_as.identity
        ours = os.environ if runs_as is None else runs_as.user.environment
        self._environment = {
            **{name: value for name, value in ours.items() if not name.startswith("STOKER_")},
            "STOKER_STATE_DIR": str(folder),
            "NO_COLOR": "1",
            **(environment or {}),
        }
        self._up: subprocess.Popen[bytes] | None = None
        self._ports = {"registry": 0, "executor": 0, "poller": 0}

    def start(self) -> None:
        """Start it (again, on the same ports) and return when it is ready."""
        if self._up is not None:
            self._up.wait(60)  # somebody else told it to stop
        ports = [f"--{service}-port={port}" for service, port in self._ports.items()]
        said = self.folder.path.parent / f"{self.folder.path.name}.up.log"
        with said.open("ab") as log:
            self._up = subprocess.Popen(
                [*self._ends_with_us(), *self._stoker, "up", "--json", *ports],
                env=self._environment,
                cwd="/",
                **self._identity,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        up = self._up
        wait_for(
            lambda: up.poll() is not None or self._is_ready(),
            START_SECONDS,
            lambda: said.read_text(errors="replace") + self.logs(),
        )
        assert up.poll() is None, said.read_text(errors="replace") + self.logs()
        record = self.record
        self._ports = {name: int(getattr(record, name).rpartition(":")[2]) for name in self._ports}

    def _ends_with_us(self) -> list[str]:
        """What a command begins with so that nothing is left when the tests themselves are killed."""
        leash_file = leash.__file__ if not self._identity else _leash_of(self._python)
        return [self._python, "-I", "-S", leash_file, str(os.getpid())]

    def _is_ready(self) -> bool:
        record = self.folder.read_record()
        return record is not None and record.ready and self._up is not None and record.supervisor_pid == self._up.pid

    def stop(self) -> None:
        """Stop it as a user does (SIGTERM); jobs go on."""
        if self._up is not None:
            self._up.terminate()
            try:
                self._up.wait(60)
            except subprocess.TimeoutExpired:
                self.kill_supervisor()
        self._up = None

    def kill_supervisor(self) -> None:
        """SIGKILL: the kernel tells its children to end."""
        if self._up is not None:
            pids = [record.pid for record in self.record.processes.values()]
            self._up.kill()
            self._up.wait()
            wait_for(lambda: not any(map(process_lives, pids)), 120, lambda: f"still there: {pids}")
        self._up = None

    @property
    def record(self) -> StackRecord:
        record = self.folder.read_record()
        assert record is not None, "the stack is not running"
        return record

    def pid(self, name: ProcessName) -> int:
        return self.record.processes[name].pid

    def kill(self, name: ProcessName) -> int:
        """SIGKILL one process, which the supervisor starts again; returns the pid that was killed."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def stall(self, name: ProcessName) -> int:
        """SIGSTOP one process; `os.kill(pid, SIGCONT)` wakes it up."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        return pid

    def restarted(self, name: ProcessName, killed: int) -> None:
        """Wait until a process runs in the place of the one that was killed."""
        wait_for(lambda: self.pid(name) != killed and process_lives(self.pid(name)), 120, self.logs)

    def ready(self) -> None:
        """Wait until `stoker jobs` and the other services answer."""
        for command in (["jobs"], ["resource", "list"]):
            wait_for(lambda command=command: self.run(*command).code == 0, 120, self.logs)  # type: ignore[misc]

    def run(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Ran:
        """Run a `stoker` command to its end."""
        ended = subprocess.run(
            [*self._stoker, *arguments],
            env={**self._environment, **(environment or {})},
            input=stdin,
            **self._identity,
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
            [*self._stoker, *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self._identity,
        )

    def logs(self) -> str:
        """The end of each process's log, for a failure's message."""
        parts = [
            f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in self.folder.logs.glob("*.log")
        ]
        return "\n".join(parts)

    @property
    def admin_key(self) -> str:
        return self.folder.read_key(self.folder.admin_key) or ""

    def executor(self, key: str | None = None) -> ExecutorClient:
        return ExecutorClient(self.record.executor, key or self.admin_key)

    def registry(self, key: str | None = None) -> RegistryClient:
        return RegistryClient(self.record.registry, key or self.admin_key)

    def poller(self, key: str | None = None) -> PollerClient:
        return PollerClient(self.record.poller, key or self.admin_key)


def _leash_of(python: str) -> str:
    return str(next(Path(python).parents[1].glob("lib/python*/site-packages/stoker/stack/leash.py")))


def wait_for(condition: Callable[[], bool], seconds: float, explain: Callable[[], str]) -> None:
    """Look again and again until it holds; fails with an explanation when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s; {explain()}"
        time.sleep(0.05)


def process_lives(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
