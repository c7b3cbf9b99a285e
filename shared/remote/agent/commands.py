"""Running a program of the resource: bounded in time and output, without the agent's own surroundings."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

from shared.remote.agent.errors import RequestError
from shared.remote.agent.exchange import Exchange

ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "SLURM_CONF")
"""All that SLURM's commands, and with sbatch the jobs, get of the agent's environment."""

STDERR_BYTES = 16 * 1024
_CHUNK_BYTES = 64 * 1024
_LOOK_SECONDS = 0.25


def find_slurm(place: dict[str, str]) -> None:
    """Take over where this cluster's commands are (`commands_dir`), and the file that they read (`conf`)."""
    folder, conf = place.get("commands_dir", ""), place.get("conf", "")
    if folder.startswith("/"):
        others = os.environ.get("PATH", os.defpath).split(os.pathsep)
        os.environ["PATH"] = os.pathsep.join([folder, *(one for one in others if one != folder)])
    if conf.startswith("/"):
        os.environ["SLURM_CONF"] = conf


def clean_environment() -> dict[str, str]:
    """Return what a command of the resource is started with."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def program(name: str) -> str:
    """Return the file of a program; `refused` with clear words when it is not there."""
    found = shutil.which(name)
    if found is None:
        raise RequestError(
            "refused",
            f"the program {name} is not on this host (looked in {os.environ.get('PATH', '')}): is SLURM there? "
            "Where only login shells find it, name its folder in slurm_commands_dir of the resource",
            code="ENOENT",
        )
    return found


class Ended:
    """How a command ended; `exit_code` is None when it was given up (`stderr` says why), negative for a signal."""

    def __init__(self, exit_code: int | None, stderr: str) -> None:
        self.exit_code = exit_code
        self.stderr = stderr


def run(
    command: list[str],
    *,
    environment: dict[str, str],
    timeout_seconds: float,
    limit_bytes: int,
    take: Callable[[bytes], None],
    exchange: Exchange,
) -> Ended:
    """Run a command and hand on what it prints; the time that `take` needs does not count.

    Ends the command, and raises, when the request is given up.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        return _Conversation(process, timeout_seconds, limit_bytes).listen(take, exchange)
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class _Conversation:
    """Listening to one process."""

    def __init__(self, process: subprocess.Popen[bytes], timeout_seconds: float, limit_bytes: int) -> None:
        self._process = process
        self._timeout_seconds = timeout_seconds
        self._left_seconds = timeout_seconds
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes
        self._stderr = b""

    def listen(self, take: Callable[[bytes], None], exchange: Exchange) -> Ended:
        with selectors.DefaultSelector() as selector:
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                exchange.pause(0)
                began = time.monotonic()
                ready = selector.select(min(_LOOK_SECONDS, self._left_seconds))
                self._left_seconds -= time.monotonic() - began
                if not ready and self._left_seconds <= 0:
                    return self._given_up(f"it had not ended after {self._timeout_seconds:g} seconds")
                for key, _ in ready:
                    data = os.read(key.fd, _CHUNK_BYTES)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self._process.stderr:
                        self._stderr = (self._stderr + data)[-STDERR_BYTES:]
                    elif len(data) > self._left_bytes:
                        return self._given_up(f"it printed more than {self._limit_bytes:,} bytes")
                    else:
                        self._left_bytes -= len(data)
                        take(data)
        try:
            exit_code = self._process.wait(max(self._left_seconds, _LOOK_SECONDS))
        except subprocess.TimeoutExpired:
            return self._given_up(f"it had not ended after {self._timeout_seconds:g} seconds")
        return Ended(exit_code, self._words())

    def _words(self) -> str:
        return self._stderr.decode("utf-8", "replace")

    def _given_up(self, why: str) -> Ended:
        name = os.path.basename(str(self._process.args[0])) if isinstance(self._process.args, list) else "the command"
        return Ended(None, f"{self._words()}{name} was ended: {why}\n")
