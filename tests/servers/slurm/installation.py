"""An installation of the project that every user can run: that of the tests may lie where only their user gets to."""

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from tests.servers.process import ServerNotUsableError

_PROJECT = Path(__file__).parents[3]
_OURS = ("services", "shared", "stoker")
# Large, and for developers only.
_LEFT_OUT = shutil.ignore_patterns(
    "pip", "setuptools", "mypy*", "*mypyc*", "faker", "schemathesis", "hypothesis",
    "_editable_impl_*", "stoker*", "grimp", "pygments-*",
)  # fmt: skip
_CANDIDATES = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")


class PublicInstallation:
    """`python` runs the project as it is now; everybody may read and run it, nobody but its owner may change it."""

    def __init__(self, folder: Path) -> None:
        venv = folder / "venv"
        subprocess.run([public_python(), "-I", "-m", "venv", "--without-pip", str(venv)], check=True)
        self.python = str(venv / "bin/python")
        packages = next(venv.glob("lib/python*/site-packages"))
        for source in {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}:
            shutil.copytree(source, packages, ignore=_LEFT_OUT, dirs_exist_ok=True, symlinks=True)
        shutil.copy2(Path(sys.executable).with_name("uv"), venv / "bin/uv")
        for name in _OURS:
            shutil.copytree(_PROJECT / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
        # Those who run it cannot keep what they compile: without this, each service would compile all it imports.
        subprocess.run([self.python, "-m", "compileall", "-q", *(str(packages / name) for name in _OURS)], check=True)
        _open_to_all(folder)


class OtherVersion(PublicInstallation):
    """An installation that differs from another one in what was added to some files."""

    def __init__(self, folder: Path, original: PublicInstallation, added: Mapping[str, bytes]) -> None:
        """Take paths relative to the packages' folder. Files that do not differ are the same files."""
        source = Path(original.python).parents[2]
        shutil.copytree(source, folder, symlinks=True, copy_function=os.link)
        self.python = str(folder / Path(original.python).relative_to(source))
        packages = next(folder.glob("venv/lib/python*/site-packages"))
        for name, text in added.items():
            file = packages / name
            whole = file.read_bytes() + text
            file.unlink()
            file.write_bytes(whole)
            file.chmod(0o444)


def public_python() -> str:
    """An interpreter of the running version that every user can start. ServerNotUsableError: there is none."""
    for candidate in _CANDIDATES:
        path = Path(candidate).resolve()
        if path.exists() and _is_public(path) and _version(path) == sys.version_info[:2]:
            return str(path)
    raise ServerNotUsableError(
        f"no Python {sys.version_info.major}.{sys.version_info.minor} that every user can start: "
        "the services run as a user of their own in these tests"
    )


def _is_public(path: Path) -> bool:
    folders = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
    return folders and bool(path.stat().st_mode & stat.S_IXOTH)


def _version(python: Path) -> tuple[int, ...]:
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in done.stdout.split())


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod((mode | 0o555) if path.is_dir() or mode & 0o100 else (mode | 0o444))
