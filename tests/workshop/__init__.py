"""Job folders made by hand, and the real runner on them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.remote.bundle import runner_source

MARK_PREFIX = "test-batch-"


class JobFolder:
    """A staged job with batches, as a dispatcher would lay it out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "work").mkdir(parents=True)
        (path / "runner.py").write_bytes(runner_source())
        self.marks: list[str] = []

    def add(self, command: list[str], units: list[dict[str, Any]], **more: Any) -> Path:
        """Lay out one more batch and return its folder."""
        index = len(self.marks)
        self.marks.append(f"{MARK_PREFIX}{self.path.name}-{os.urandom(6).hex()}")
        folder = self.path / "batches" / f"{index:05}"
        (folder / "logs").mkdir(parents=True)
        batch = {
            "format": 1,
            "job_id": self.path.name,
            "batch_id": self.marks[-1],
            "index": index,
            "parallel": 2,
            "command": command,
            "environment": {},
            "work": "../../work",
            "kill_grace_seconds": 0.5,
            "mark": self.marks[-1],
        }
        (folder / "batch.json").write_text(json.dumps(batch | more))
        lines = (json.dumps({"unit": i, "attempt": 1, "args": args}) for i, args in enumerate(units))
        (folder / "units.jsonl").write_text("".join(line + "\n" for line in lines))
        (folder / "events.jsonl").write_text('{"event":"staged"}\n')
        (folder / "results.jsonl").write_text("")
        return folder


class Launched:
    """A runner process started by hand, with the words of the runner in `runner.log`."""

    def __init__(self, folder: Path, native_id: str) -> None:
        self.folder = folder
        script = folder.parent.parent / "runner.py"
        with (folder / "runner.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script), str(folder), f"--native-id={native_id}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, timeout: float = 120) -> int:
        return self.process.wait(timeout)


def records(path: Path) -> list[dict[str, Any]]:
    """Complete lines of a JSON-lines file."""
    data = path.read_bytes()
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def results_of(folder: Path) -> dict[int, dict[str, Any]]:
    found = records(folder / "results.jsonl")
    assert len({(one["unit"], one["attempt"]) for one in found}) == len(found)
    return {one["unit"]: one for one in found}


def until(condition: Callable[[], Any], timeout: float = 120) -> Any:
    """Poll until the condition holds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"did not come true in {timeout} s"
        time.sleep(0.01)


async def soon(condition: Callable[[], Any], timeout: float = 120) -> Any:
    """Poll until the condition holds, and let the event loop work meanwhile."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"did not come true in {timeout} s"
        await asyncio.sleep(0.01)


def processes_marked(mark: str) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if f"STOKER_MARK={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


class Workshop:
    """Makes job folders, launches runners, and leaves no process behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs: list[JobFolder] = []
        self.launched: list[Launched] = []

    def job(self) -> JobFolder:
        self.jobs.append(JobFolder(self.path / f"job-{len(self.jobs)}"))
        return self.jobs[-1]

    def batch(self, command: list[str], units: list[dict[str, Any]], **more: Any) -> Path:
        return self.job().add(command, units, **more)

    def launch(self, folder: Path, native_id: str = "local-1") -> Launched:
        self.launched.append(Launched(folder, native_id))
        return self.launched[-1]

    def run(self, command: list[str], units: list[dict[str, Any]], **more: Any) -> dict[int, dict[str, Any]]:
        """Run a batch to its end and return the results by unit."""
        folder = self.batch(command, units, **more)
        assert self.launch(folder).wait() == 0, (folder / "runner.log").read_text()
        self.folder = folder
        return results_of(folder)

    def close(self) -> None:
        for launched in self.launched:
            if launched.process.poll() is None:
                os.killpg(launched.process.pid, signal.SIGKILL)
                launched.process.wait()
        for mark in [mark for job in self.jobs for mark in job.marks]:
            for pid in processes_marked(mark):
                os.kill(pid, signal.SIGKILL)
