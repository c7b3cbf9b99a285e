"""The one-file programs: the same bytes every time, readable tracebacks, and Python 3.9."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from shared.remote import bundle

ROOT = Path(__file__).parents[2]
REMOTE = ROOT / "shared/remote"
OLD_PYTHON = "3.9"


@pytest.mark.parametrize("part", ["runner_source", "agent_source", "builder_source"])
def test_a_bundle_is_the_same_bytes_in_every_process(part: str) -> None:
    script = f"import sys, shared.remote.bundle as b; sys.stdout.buffer.write(b.{part}())"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=ROOT)
    assert other.stdout == getattr(bundle, part)()


@pytest.mark.parametrize(
    "source",
    [bundle.runner_source(), bundle.agent_source(), bundle.builder_source()],
    ids=["runner", "agent", "builder"],
)
def test_a_bundle_runs_on_old_pythons(source: bytes, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_bytes(source)
    folders = [tmp_path, *(REMOTE / name for name in ("agent", "runner", "builder", "common"))]
    # Annotations are postponed, never evaluated: they may be newer.
    vermin = str(Path(sys.executable).with_name("vermin"))
    command = [vermin, f"-t={OLD_PYTHON}-", "--violations", "--no-tips", *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", ["agent", "runner", "builder", "common"])
def test_what_runs_on_clusters_imports_the_standard_library_only(package: str) -> None:
    for path in (REMOTE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                allowed = name.split(".")[0] in sys.stdlib_module_names
                own = name.startswith(("shared.remote.common", f"shared.remote.{package}"))
                assert allowed or own, f"{path.name} imports {name}"


def test_a_traceback_shows_modules_and_lines(tmp_path: Path) -> None:
    source = bundle.runner_source().replace(b"def main(arguments: list[str]) -> int:", b"def main(a) -> int:")
    (tmp_path / "runner.py").write_bytes(source)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "runner.py"), "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    assert 'File "<stoker-runner>/shared/remote/runner/main.py", line' in done.stderr
    assert "    options = Options(arguments)\n" in done.stderr
