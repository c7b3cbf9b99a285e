"""One server process that a test may start, kill, stall and start again on the same address."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 20.0
_TRIES_FOR_A_PORT = 200
# Below Linux's range for outgoing connections (32768 and up): nobody is given our port while a killed server is away.
_PORTS = (20000, 32000)

# What is told to die with its parent dies with the thread that started it: one that lives as long as the tests do.
_parent = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")


class ServerNotUsableError(Exception):
    """A server did not start, or its program is not installed."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    for _ in range(_TRIES_FOR_A_PORT):
        port = random.randrange(*_PORTS)  # noqa: S311 - not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerNotUsableError("no free TCP port was found")


def program(name: str, package: str, *, folders: Sequence[Path] = ()) -> str:
    """Absolute path of an installed program; ServerNotUsableError names the Debian package that carries it."""
    search = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=search)
    if found is None:
        raise ServerNotUsableError(f"`{name}` is not installed: apt-get install {package}")
    return found


class ServerProcess:
    """A child process that counts as started once `is_ready` says so."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        is_ready: Callable[[], bool],
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.arguments = list(arguments)
        self.log = log
        self._is_ready = is_ready
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerNotUsableError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it (again), on the same address; returns when it answers. A start that fails is tried again."""
        if self.running:
            return
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._spawn()
            while self.running and time.monotonic() < deadline:
                if self._is_ready():
                    return
                time.sleep(0.02)
            # A server killed a moment ago may still hold its port or its shared memory.
            if time.monotonic() > deadline:
                self.kill()
                raise ServerNotUsableError(f"{self.arguments[0]} did not start: {self._last_words()}")
            time.sleep(0.1)

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = _parent.submit(
                subprocess.Popen,
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            ).result()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in its own way; SIGKILL when it takes too long."""
        self._end(self._stop_signal)

    def stall(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT after `stall`."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None
