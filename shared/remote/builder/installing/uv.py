"""uv, told what pip's settings on this machine say."""

from __future__ import annotations

import os
from collections.abc import Sequence

from shared.remote.builder.commands import Commands, Finished, say
from shared.remote.builder.failures import Failure
from shared.remote.builder.installing import pip_settings
from shared.remote.builder.installing.verdicts import check_answered, check_made
from shared.remote.builder.request import Request

_INDEXES = frozenset(("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"))
_ALWAYS = {
    "UV_COMPILE_BYTECODE": "0",
    "UV_LINK_MODE": "copy",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_INDEX_STRATEGY": "unsafe-best-match",  # what pip does: the newest of all indexes
}


class Uv:
    """An installer; see `installers.Installer`."""

    def __init__(self, request: Request, commands: Commands, python: str, executable: str) -> None:
        self.name = "uv"
        self._uv = executable
        self._commands = commands
        self._python = python
        settings = pip_settings.pip_settings(commands.environment, os.path.dirname(os.path.dirname(python)))
        self._options = pip_settings.uv_options(settings)
        own = commands.environment
        self._more = {**pip_settings.for_uv(settings, own), **_ALWAYS}
        if request.index_urls:
            self._more.update(dict.fromkeys(_INDEXES & own.keys(), ""))
            self._more["UV_DEFAULT_INDEX"] = request.index_urls[0]
            self._more["UV_INDEX"] = " ".join(request.index_urls[1:])
        if request.pip_cache_dir:
            self._more["UV_CACHE_DIR"] = os.path.join(request.pip_cache_dir, "uv")

    def runs(self, folder: str) -> bool:
        """Whether this machine can run it; says so in the log."""
        try:
            if os.path.isfile(self._uv) and not os.access(self._uv, os.X_OK):
                os.chmod(self._uv, 0o700)
            done = self._commands.run([self._uv, "--version"], cwd=folder)
        except OSError:
            done = None
        except Failure as failure:
            if failure.code in {"time_limit", "interrupted"}:
                raise
            done = None
        if done is None or done.code:
            say("uv cannot be used here: pip does the work")
            return False
        self.name = done.output.partition("(")[0].strip() or "uv"
        return True

    def make(self, venv: str, folder: str) -> None:
        """Make a virtual environment."""
        check_made(self._run(["venv", "--no-project", "--python", self._python, venv], folder), self._python)

    def find(self, requirement: str, folder: str) -> str | None:
        """Return the version that would be installed."""
        wanted = os.path.join(folder, "wanted.txt")
        with open(wanted, "w", encoding="utf-8") as file:
            file.write(requirement + "\n")
        options = ["--no-deps", "--no-header", "--no-annotate", "--python", self._python, *self._options]
        done = self._run(["pip", "compile", "--quiet", *options, wanted], folder)
        if done.code:
            check_answered(done, requirement)
            return None
        lines = [line for line in done.output.splitlines() if "==" in line]
        return lines[-1].partition("==")[2].partition(";")[0].strip() if lines else None

    def install(self, venv: str, requirements: Sequence[str], folder: str, *, alone: bool = False) -> Finished:
        """Install into the environment."""
        options = [*self._options, *(["--no-deps"] if alone else [])]
        python = os.path.join(venv, "bin", "python")
        return self._run(["pip", "install", "--python", python, *options, "--", *requirements], folder)

    def _run(self, arguments: Sequence[str], folder: str) -> Finished:
        return self._commands.run([self._uv, *arguments], cwd=folder, more=self._more)
