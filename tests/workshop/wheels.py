"""The project's own wheels, and new virtual environments with them, what they say they need, and nothing else."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PROJECT = Path(__file__).parents[2]
_OURS = {"stoker", "stoker-server"}


class Wheel:
    """One built wheel."""

    def __init__(self, file: Path) -> None:
        self.file = file
        name, version, *_ = file.name.split("-")
        self._about = metadata.PathDistribution(zipfile.Path(file, f"{name}-{version}.dist-info/"))  # type: ignore[arg-type]

    @property
    def version(self) -> str:
        return self._about.version

    @property
    def requirements(self) -> list[Requirement]:
        """What it says it needs, extras included."""
        return [Requirement(line) for line in self._about.requires or []]

    @property
    def names(self) -> set[str]:
        """The files in it."""
        with zipfile.ZipFile(self.file) as archive:
            return set(archive.namelist())


def make_wheels(folder: Path) -> tuple[Wheel, Wheel]:
    """What `make wheels` makes with the packages of this interpreter: `stoker` and `stoker-server`."""
    # Of a make that runs these tests, if one does.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    ours = [f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.dev", f"DIST={folder}"]
    subprocess.run(["make", "--silent", *ours, "wheels"], cwd=_PROJECT, env=outside, check=True)
    first, second = sorted(folder.glob("*.whl"))
    return Wheel(first), Wheel(second)


class Installation:
    """A virtual environment with wheels, and with all that they need, taken from the packages of this interpreter."""

    def __init__(self, folder: Path, *wheels: Wheel, extras: Sequence[str] = ()) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.bin = folder / "bin"
        self.python = str(self.bin / "python")
        self.packages = next(folder.glob("lib/python*/site-packages"))
        self._install(wheels)
        needs = [need for wheel in wheels for need in wheel.requirements if _holds(need, {"", *extras})]
        for needed in _all_needed(needs):
            self._take(needed)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run its interpreter in a folder without the project, with no settings of whoever runs the tests."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STOKER_", "PYTHON"))}
        return subprocess.run(
            [self.python, "-P", *arguments], env=clean, cwd="/", capture_output=True, text=True, check=False
        )

    def _install(self, wheels: Sequence[Wheel]) -> None:
        uv = [
            str(Path(sys.executable).with_name("uv")),
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            self.python,
        ]
        alone = ["--no-config", "--no-cache", "--offline", "--no-index", "--no-deps"]
        files = [str(wheel.file) for wheel in wheels]
        done = subprocess.run([*uv, *alone, *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _take(self, distribution: metadata.Distribution) -> None:
        for file in distribution.files or []:
            source, target = Path(str(distribution.locate_file(file))), Path(os.path.normpath(self.packages / file))
            # Scripts begin with the interpreter that they were installed for.
            if source.exists() and not target.exists() and not _is_script(source, target, self.bin):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)


def _is_script(source: Path, target: Path, scripts: Path) -> bool:
    return target.parent == scripts and source.read_bytes()[:2] == b"#!"


def _holds(need: Requirement, extras: set[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)


def _all_needed(needs: list[Requirement]) -> list[metadata.Distribution]:
    """What is needed, what that needs, and so on; but the wheels themselves."""
    pending, found = list(needs), {}
    seen: set[str] = set()
    while pending:
        need = pending.pop()
        if canonicalize_name(need.name) in _OURS or str(need) in seen:
            continue
        seen.add(str(need))
        found[canonicalize_name(need.name)] = distribution = metadata.distribution(need.name)
        assert need.specifier.contains(distribution.version, prereleases=True), f"{need}: {distribution.version}"
        further = [Requirement(line) for line in distribution.requires or []]
        pending += [more for more in further if _holds(more, {"", *need.extras})]
    return list(found.values())
