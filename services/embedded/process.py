"""One process of the stack: kept running until it is told to stop."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from services.embedded import leash
from stoker.backoff import pause_seconds
from stoker.cli.state_folder import ProcessRecord

_FIRST_PAUSE_SECONDS = 0.2
# Who ran this long was fine: the next pause is the first one again.
_STEADY_SECONDS = 20.0


class ManagedProcess:
    """Starts a program again whenever it ends, with growing pauses. Output goes to its log file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        on_change: Callable[[], object],
        longest_pause_seconds: float,
    ) -> None:
        self.name = name
        self.log = log
        self.record: ProcessRecord | None = None
        self._command = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command]
        self._environment = dict(environment)
        self._folder = folder
        self._on_change = on_change
        self._longest_pause_seconds = longest_pause_seconds
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.early_ends = 0
        """How often in a row it ended soon after its start."""

    def start(self) -> None:
        """Start it, and keep it running from now on."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self, *, patience_seconds: float) -> None:
        """SIGTERM, and SIGKILL when that does not end it in time."""
        self._stopping.set()
        if self._keeper is None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._keeper), patience_seconds)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._keeper

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(number)

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            await self._run_once()
            lasted = time.monotonic() - started
            self.early_ends = 0 if lasted > _STEADY_SECONDS else self.early_ends + 1
            await self._pause()

    async def _run_once(self) -> None:
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
            )
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        restarts = 0 if self.record is None else self.record.restarts + 1
        self.record = ProcessRecord(pid=self._child.pid, restarts=restarts)
        self._on_change()
        await self._child.wait()

    async def _pause(self) -> None:
        wanted = pause_seconds(
            self.early_ends, first_seconds=_FIRST_PAUSE_SECONDS, longest_seconds=self._longest_pause_seconds
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wanted)


async def run_to_end(command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> tuple[int, str, str]:
    """Run a program once; return its exit code, what it printed, and what it said on standard error."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
    )
    output, complaint = await child.communicate()
    return child.returncode or 0, output.decode(errors="replace"), complaint.decode(errors="replace")
