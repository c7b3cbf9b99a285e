"""A real stack, started as a user starts it, whose processes a test may kill; with the command line for it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from services.embedded import leash
from stoker.cli.state_folder import StackRecord, StateFolder
from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from tests.stack.command_line import CommandLine, RunsAs

ProcessName = Literal["redis", "registry", "executor", "poller"]
PROCESSES: tuple[ProcessName, ...] = ("redis", "registry", "executor", "poller")

START_SECONDS = 90.0
# Tests kill the same process again and again: what waits longer each time would be most of what they wait for.
RESTART_SECONDS = "0.5"


class RunningStack(CommandLine):
    """`stoker up` in a folder of its own, on free ports. Not shared between tests that kill its processes."""

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        runs_as: RunsAs | None = None,
        stoker: Sequence[str] = (),
    ) -> None:
        self.folder = StateFolder(folder)
        super().__init__(
            {"STOKER_STATE_DIR": str(folder), "STOKER_RESTART_SECONDS": RESTART_SECONDS, **(environment or {})},
            runs_as,
            stoker=stoker,
        )
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
                [*self._ends_with_us(), *self.stoker, "up", "--json", *ports],
                env=self.environment,
                cwd="/",
                **self.identity,
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
        leash_file = leash.__file__ if not self.identity else _leash_of(self.python)
        return [self.python, "-I", "-S", leash_file, str(os.getpid())]

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
    return str(next(Path(python).parents[1].glob("lib/python*/site-packages/services/embedded/leash.py")))


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
