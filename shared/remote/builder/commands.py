"""Programs that the builder starts: shown before they run, their output passed on as it comes, ended as a whole."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from shared.remote.builder.failures import Failure
from shared.remote.common.durable import write_all
from shared.remote.common.processes import descendants, send

TAIL_BYTES = 64 * 1024
"""So much of the end of a program's output is looked at for the reason of its failure."""
KILL_GRACE_SECONDS = 1.0
_GIVE_UP_SECONDS = 5.0
_LAST_LINES = 6
_CHUNK_BYTES = 64 * 1024
_STANDARD_OUTPUT = 1


def say(text: str) -> None:
    """Write a line to the log."""
    with contextlib.suppress(OSError):
        write_all(_STANDARD_OUTPUT, text.encode("utf-8", "replace") + b"\n")


class Finished:
    """How a program ended; `output` is the end of what it wrote (standard output and error)."""

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output

    @property
    def words(self) -> str:
        """How it ended, and the last lines that it wrote."""
        how = f"it ended with exit code {self.code}" if self.code >= 0 else f"it was killed by signal {-self.code}"
        lines = [line.rstrip() for line in self.output.splitlines() if line.strip()]
        return "\n".join([how, *lines[-_LAST_LINES:]])


class Commands:
    """Starts programs in one folder and environment, all of them before one deadline.

    `held` is a descriptor that the programs inherit: the lock on the environment, which is free only when the last
    of them is gone.
    """

    def __init__(self, environment: Mapping[str, str], *, time_limit_seconds: float | None) -> None:
        self.environment = dict(environment)
        self.held: int | None = None
        self._limit = time_limit_seconds
        self._deadline = None if time_limit_seconds is None else time.monotonic() + time_limit_seconds

    def run(
        self, arguments: Sequence[str], *, cwd: str, more: Mapping[str, str] | None = None, quiet: bool = False
    ) -> Finished:
        """Run one program to its end; Failure when it cannot start or the time is over.

        `quiet`: neither shown nor passed on, for what only the builder reads.
        """
        if not quiet:
            say("$ " + " ".join(shlex.quote(argument) for argument in arguments))
        try:
            process = subprocess.Popen(
                list(arguments),
                cwd=cwd,
                env={**self.environment, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if self.held is None else (self.held,),
            )
        except OSError as error:
            raise Failure("file_error", f"{arguments[0]} cannot be started: {error.strerror}") from error
        try:
            output = self._pass_on(process, quiet=quiet)
        finally:
            _end(process)
        return Finished(process.returncode, output)

    def remaining_seconds(self) -> float | None:
        """Return the time that is left; Failure when it is over."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left > 0:
            return left
        raise Failure("time_limit", f"it took longer than its limit of {self._limit:g} seconds")

    def _pass_on(self, process: subprocess.Popen[bytes], *, quiet: bool) -> str:
        stream = process.stdout
        if stream is None:
            raise AssertionError("the output is a pipe")
        tail = bytearray()
        with stream:
            while True:
                left = self.remaining_seconds()
                wait = 0.5 if left is None else min(0.5, left)
                if select.select([stream], [], [], wait)[0]:
                    data = os.read(stream.fileno(), _CHUNK_BYTES)
                    if not data:
                        break
                    if not quiet:
                        write_all(_STANDARD_OUTPUT, data)
                    tail += data
                    del tail[:-TAIL_BYTES]
                elif process.poll() is not None:
                    break  # what it left behind holds the pipe; that ends with it
            while process.poll() is None:
                self.remaining_seconds()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
        return tail.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program, its group, and whatever else is below this process."""
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_GRACE_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    own = {os.getpid()}
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        left = descendants(own)
        if not left:
            break
        send(left, signal.SIGKILL)
        time.sleep(0.01)
    process.wait()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
