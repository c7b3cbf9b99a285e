"""`stoker demo`, as `make demo` runs it."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from services.embedded.demo.packages import standard_library_packages
from tests.stack.pictures import read_png
from tests.stack.running import process_lives

# A real package of the index with all that it needs: nearly a gigabyte.
pytestmark = pytest.mark.timeout(400)
_PATIENCE_SECONDS = 360


class Demonstration:
    """The command with a folder for temporary files, and one that it is called in."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.here = folder / "here"
        self.picture = self.here / "stoker-demo.png"
        self.temporary.mkdir()
        self.here.mkdir()

    def start(self, **variables: str) -> subprocess.Popen[str]:
        # A stack that is known already, and a key, are not the demonstration's business.
        known = {"STOKER_EXECUTOR_URL": "http://127.0.0.1:1", "STOKER_KEY": "x", **variables}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "stoker", "demo"],
            cwd=self.here,
            env={**os.environ, "TMPDIR": str(self.temporary), **known},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def leaves_nothing(self) -> bool:
        """Neither files nor processes."""
        return not list(self.temporary.iterdir()) and not _processes_of(self.temporary)


@pytest.fixture
def demonstration(tmp_path: Path) -> Demonstration:
    return Demonstration(tmp_path)


def test_the_demonstration_shows_its_results_and_leaves_nothing_but_the_picture(
    demonstration: Demonstration,
) -> None:
    process = demonstration.start()
    out, said = process.communicate(timeout=_PATIENCE_SECONDS)
    units = len(standard_library_packages())
    assert units > 150
    assert process.returncode == 0, said
    assert f"all {units}" in out
    assert "asyncio" in out
    assert f"The task found 36 of the 36 nuclei in the image: {demonstration.picture}" in out
    assert "fractal-tasks-core 2.1.0 with 9 tasks" in said
    assert demonstration.leaves_nothing()
    assert list(demonstration.here.iterdir()) == [demonstration.picture]

    rows = read_png(demonstration.picture)
    middle = len(rows[0]) // 2
    left = [pixel for row in rows for pixel in row[: middle - 4]]
    right = [pixel for row in rows for pixel in row[middle + 4 :]]
    assert all(red == green == blue for red, green, blue in left)
    assert len(set(left)) > 100
    coloured = Counter(max(pixel) - min(pixel) > 30 for pixel in right)
    assert 0.05 < coloured[True] / len(right) < 0.3


def test_without_a_package_index_the_rest_of_the_demonstration_succeeds(demonstration: Demonstration) -> None:
    process = demonstration.start(STOKER_PACKAGE_INDEXES="http://127.0.0.1:1/simple")
    out, said = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert f"all {len(standard_library_packages())}" in out
    assert "left out, as no package index is reached from here" in out
    assert demonstration.leaves_nothing()
    assert not demonstration.picture.exists()


def test_interrupted_while_the_environment_is_made_it_leaves_nothing(demonstration: Demonstration) -> None:
    process = demonstration.start()
    assert process.stderr is not None
    seen = ""
    while "step 3 of 4" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 130
    assert demonstration.leaves_nothing()
    assert not demonstration.picture.exists()


def _processes_of(temporary: Path) -> list[int]:
    """Processes that have it in their environment, or work below it: what runs jobs has an environment of its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"TMPDIR={temporary}".encode() in (folder / "environ").read_bytes()
            below = str((folder / "cwd").readlink()).startswith(f"{temporary}/")
        except OSError:
            continue
        if (marked or below) and process_lives(int(folder.name)):
            found.append(int(folder.name))
    return found
