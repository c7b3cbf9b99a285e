"""Our services as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

START_SECONDS = 30


def run(module: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a subcommand to its end."""
    command = [sys.executable, "-W", "error", "-m", module, *arguments]
    return subprocess.run(
        command, env=clean(environment), capture_output=True, text=True, timeout=START_SECONDS, check=False
    )


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The test's environment without settings of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STOKER_", "FRACTAL_"))}
    return kept | dict(environment)


class ServedProcess:
    """A service that answers at `url`; `log` is what it has written."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self.url = ""
        self._listening = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", module, "serve"],
            env=clean({"STOKER_LISTEN_PORT": "0"} | dict(environment)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def events(self) -> list[dict[str, Any]]:
        """The log's lines, which are all JSON."""
        return [json.loads(line) for line in self.lines]

    def wait_until_listening(self) -> None:
        assert self._listening.wait(START_SECONDS), self.log
        assert self.url, self.log

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 20) -> int:
        """End it, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
                if '"event":"listening"' in line:
                    self.url = json.loads(line)["url"]
                    self._listening.set()
        self._listening.set()


@contextmanager
def serving(module: str, environment: Mapping[str, str]) -> Iterator[ServedProcess]:
    """Serve for the time of the context."""
    served = ServedProcess(module, environment)
    try:
        served.wait_until_listening()
        yield served
    finally:
        served.stop()
