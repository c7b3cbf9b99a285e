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
from typing import IO

from shared.remote.builder.failures import Failure
from shared.remote.common.durable import write_all
from shared.remote.common.processes import descendants, send

TAIL_BYTES = 64 * 1024
"""So much of the end of a program's output is looked at for the reason of its failure."""
MOST_ANSWER_BYTES = 16 * 1024 * 1024
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
    """How a program ended; `output` is the end of what it wrote (standard output and error).

    Where both were kept apart, `output` is all of its standard output, and `errors` the end of the other.
    """

    def __init__(self, code: int, output: str, errors: str = "") -> None:
        self.code = code
        self.output = output
        self.errors = errors

    @property
    def words(self) -> str:
        """How it ended, and the last lines that it wrote."""
        how = f"it ended with exit code {self.code}" if self.code >= 0 else f"it was killed by signal {-self.code}"
        lines = [line.rstrip() for line in (self.errors or self.output).splitlines() if line.strip()]
        return "\n".join([how, *lines[-_LAST_LINES:]])


class _Stream:
    """What a program writes: passed on where it is `shown`; all of it is kept (`most` bytes), or its end (None)."""

    def __init__(self, pipe: IO[bytes] | None, *, shown: bool, most: int | None) -> None:
        if pipe is None:
            raise AssertionError("the output is a pipe")
        self._pipe = pipe
        self._shown = shown
        self._most = most
        self._kept = bytearray()

    def fileno(self) -> int:
        """The pipe's descriptor."""
        return self._pipe.fileno()

    def take(self) -> bool:
        """Take what is there; False at the end."""
        data = os.read(self.fileno(), _CHUNK_BYTES)
        if self._shown and data:
            write_all(_STANDARD_OUTPUT, data)
        self._kept += data
        if self._most is None:
            del self._kept[:-TAIL_BYTES]
        elif len(self._kept) > self._most:
            raise Failure("file_error", f"a program answered with more than {self._most:,} bytes")
        return bool(data)

    def text(self) -> str:
        """What was kept."""
        return self._kept.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the pipe."""
        self._pipe.close()


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

    def run(self, arguments: Sequence[str], *, cwd: str, more: Mapping[str, str] | None = None) -> Finished:
        """Run one program to its end, shown and passed on; Failure when it cannot start or the time is over."""
        say("$ " + " ".join(shlex.quote(argument) for argument in arguments))
        process = self._started(arguments, cwd, more, subprocess.STDOUT)
        return self._finished(process, _Stream(process.stdout, shown=True, most=None))

    def read(
        self, arguments: Sequence[str], *, cwd: str, more: Mapping[str, str] | None = None, quiet: bool = False
    ) -> Finished:
        """Run a program whose answer only the builder reads: all of its standard output, and nothing else.

        What it says on standard error is passed on, unless `quiet`. Failure as above, or when the answer is too long.
        """
        process = self._started(arguments, cwd, more, subprocess.PIPE)
        answer = _Stream(process.stdout, shown=False, most=MOST_ANSWER_BYTES)
        return self._finished(process, answer, _Stream(process.stderr, shown=not quiet, most=None))

    def _started(
        self, arguments: Sequence[str], cwd: str, more: Mapping[str, str] | None, errors: int
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                list(arguments),
                cwd=cwd,
                env={**self.environment, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                pass_fds=() if self.held is None else (self.held,),
            )
        except OSError as error:
            raise Failure("file_error", f"{arguments[0]} cannot be started: {error.strerror}") from error

    def _finished(self, process: subprocess.Popen[bytes], *streams: _Stream) -> Finished:
        try:
            self._pass_on(process, list(streams))
        finally:
            _end(process)
            for stream in streams:
                stream.close()
        return Finished(process.returncode, *(stream.text() for stream in streams))

    def remaining_seconds(self) -> float | None:
        """Return the time that is left; Failure when it is over."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left > 0:
            return left
        raise Failure("time_limit", f"it took longer than its limit of {self._limit:g} seconds")

    def _pass_on(self, process: subprocess.Popen[bytes], open_streams: list[_Stream]) -> None:
        while open_streams:
            left = self.remaining_seconds()
            wait = 0.5 if left is None else min(0.5, left)
            ready = select.select(open_streams, [], [], wait)[0]
            if not ready and process.poll() is not None:
                break  # what it left behind holds the pipe; that ends with it
            open_streams = [stream for stream in open_streams if stream not in ready or stream.take()]
        while process.poll() is None:
            self.remaining_seconds()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)


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
