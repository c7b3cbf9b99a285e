"""`stoker demo`, as `make demo` runs it."""

import os
import subprocess
import sys
from pathlib import Path

from stoker.demo.packages import standard_library_packages
from tests.stack.running import process_lives


def test_the_demonstration_shows_its_results_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "stoker", "demo"],
        # A stack that is known already, and a key, are not the demonstration's business.
        env={**os.environ, "TMPDIR": str(tmp_path), "STOKER_EXECUTOR_URL": "http://127.0.0.1:1", "STOKER_KEY": "x"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    units = len(standard_library_packages())
    assert units > 150
    assert ended.returncode == 0, ended.stderr
    assert f"all {units}" in ended.stdout
    assert "asyncio" in ended.stdout
    assert list(tmp_path.iterdir()) == []
    assert not _carrying(f"TMPDIR={tmp_path}".encode())


def _carrying(mark: bytes) -> list[int]:
    """Processes that were started below the given environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            carries = mark in (folder / "environ").read_bytes()
        except OSError:
            continue
        if carries and process_lives(int(folder.name)):
            found.append(int(folder.name))
    return found
