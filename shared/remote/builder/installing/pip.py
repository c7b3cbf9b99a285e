"""pip, taken out of the interpreter's own ensurepip: a new environment then holds only what was asked for.

Installing pip into each environment first would take longer than most packages do.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence

from shared.remote.builder.commands import Commands, Finished
from shared.remote.builder.failures import Failure
from shared.remote.builder.installing.verdicts import check_answered, check_made
from shared.remote.builder.packages.wheel_names import version_of_file
from shared.remote.builder.request import Request

_ALWAYS = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_USER": "0",
}
_BUNDLED = """
import glob, os, sys, sysconfig
folders = [sysconfig.get_config_var("WHEEL_PKG_DIR") or ""]
try:
    import ensurepip
    folders.insert(0, os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"))
except ImportError:
    folders.append("/usr/share/python-wheels")
found = [file for folder in folders if folder for file in sorted(glob.glob(os.path.join(folder, "pip-*.whl")))]
print("\\n" + (found[0] if found else ""))
"""


class Pip:
    """An installer; see `installers.Installer`."""

    def __init__(self, request: Request, commands: Commands, python: str) -> None:
        self.name = "pip"
        self._commands = commands
        self._python = python
        self._program: str | None = None
        self._more = dict(_ALWAYS)
        if request.index_urls:
            self._more["PIP_INDEX_URL"] = request.index_urls[0]
            self._more["PIP_EXTRA_INDEX_URL"] = " ".join(request.index_urls[1:])
        if request.pip_cache_dir:
            self._more["PIP_CACHE_DIR"] = request.pip_cache_dir

    def make(self, venv: str, folder: str) -> None:
        """Make a virtual environment."""
        check_made(self._commands.run([self._python, "-m", "venv", "--without-pip", venv], cwd=folder), self._python)

    def find(self, requirement: str, folder: str) -> str | None:
        """Return the version that would be installed; what is downloaded for it stays in pip's cache."""
        target = os.path.join(folder, f"found.{os.urandom(6).hex()}")
        done = self._run(self._python, ["download", "--no-deps", "--dest", target, "--", requirement], folder)
        if done.code:
            check_answered(done, requirement)
            return None
        name = requirement.partition("==")[0]
        found = [version_of_file(file, name) for file in os.listdir(target)]
        return next((version for version in found if version), None)

    def install(self, venv: str, requirements: Sequence[str], folder: str, *, alone: bool = False) -> Finished:
        """Install into the environment."""
        options = ["--no-compile", *(["--no-deps"] if alone else [])]
        python = os.path.join(venv, "bin", "python")
        return self._run(python, ["install", *options, "--", *requirements], folder)

    def _run(self, python: str, arguments: Sequence[str], folder: str) -> Finished:
        if self._program is None:
            self._program = self._unpacked(folder)
        return self._commands.run([python, self._program, *arguments], cwd=folder, more=self._more)

    def _unpacked(self, folder: str) -> str:
        """Return the path of a pip that any Python of this version can run."""
        done = self._commands.read([self._python, "-I", "-c", _BUNDLED], cwd=folder, quiet=True)
        wheel = done.output.rstrip("\n").rpartition("\n")[2]
        if done.code or not wheel:
            raise Failure(
                "python_not_usable", f"{self._python} brings no pip along (its module ensurepip is missing)"
            )
        target = os.path.join(folder, "pip-program")
        with zipfile.ZipFile(wheel) as archive:
            # Without its metadata: nobody may take it for something that is installed in the environment.
            archive.extractall(target, [name for name in archive.namelist() if name.startswith("pip/")])
        return os.path.join(target, "pip")
