"""Who resolves and installs: uv where it runs, pip otherwise, behind one small interface.

Both copy: a file of an environment is never the same file as one in a cache, so that nothing that happens in an
environment can change another.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from shared.remote.builder.commands import Commands, Finished, say
from shared.remote.builder.installing.pip import Pip
from shared.remote.builder.installing.uv import Uv
from shared.remote.builder.request import Request
from shared.remote.common.platforms import libc, machine


class Installer(Protocol):
    """Commands run in `folder`, where they may leave temporary files."""

    name: str

    def make(self, venv: str, folder: str) -> None:
        """Make an empty virtual environment with the request's interpreter, without pip in it; or Failure."""

    def find(self, requirement: str, folder: str) -> str | None:
        """Return the newest version that fits `name` or `name==version`, None when the index has none; or Failure."""

    def install(self, venv: str, requirements: Sequence[str], folder: str, *, alone: bool = False) -> Finished:
        """Install; `alone`: exactly these, without what they need."""


def choose(request: Request, commands: Commands, python: str, folder: str) -> Installer:
    """Return uv where it was given and runs here, pip otherwise."""
    if request.uv and not os.path.exists(request.uv):
        here = f"{machine()}, {libc() or 'another C library than glibc'}"
        say(f"no uv for this machine ({here}) is at {request.uv}: pip does the work")
    elif request.uv:
        uv = Uv(request, commands, python, request.uv)
        if uv.runs(folder):
            return uv
    return Pip(request, commands, python)
