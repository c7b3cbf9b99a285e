"""The examples of docs/api.md and of the README, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.over_http.address import StackAddress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def example_folder() -> Iterator[None]:
    yield
    shutil.rmtree("/tmp/stoker-example", ignore_errors=True)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.usefixtures("example_folder")
def test_the_examples_of_the_http_interface_work_in_their_order(address: StackAddress, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    examples = blocks("docs/api.md", "sh")
    assert len(examples) > 8
    script = "\n".join(["set -euo pipefail", *examples])
    ended = subprocess.run(
        ["bash", "-c", script],
        env={
            "PATH": os.environ["PATH"],
            "REGISTRY": address.registry_url,
            "EXECUTOR": address.executor_url,
            "POLLER": address.poller_url,
            "KEY": address.key,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = f"{ended.stdout}\n{ended.stderr}"
    assert ended.returncode == 0, said
    assert '{"index":1,"state":"succeeded","output":9' in ended.stdout, said
    assert "ValueError" in ended.stdout or "TypeError" in ended.stdout, said
    assert '"comand' in ended.stdout or "comand" in ended.stdout, said
    assert (tmp_path / "job.zip").stat().st_size > 0


def test_the_program_of_the_readme_follows_a_job_to_its_end(address: StackAddress, tmp_path: Path) -> None:
    (program,) = blocks("README.md", "python")
    file = tmp_path / "program.py"
    file.write_text(program.replace("http://127.0.0.1:8702", address.executor_url))
    profile = address.command_line().run("profile", "show", "local").json
    ended = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "STOKER_KEY": address.key, "PROFILE_ID": profile["id"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("succeeded ")
