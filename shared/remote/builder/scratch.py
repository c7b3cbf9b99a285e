"""A root's own corner, `.scratch`: temporary files of one environment's builders, and what is being removed.

All of it carries the environment's id, so that the next attempt finds and removes what a killed one left.
"""

from __future__ import annotations

import contextlib
import glob
import os

from shared.remote.builder import trees

FOLDER = ".scratch"
_MADE_AGAIN = 100


class Scratch:
    """The corner of one environment below a root."""

    def __init__(self, root: str, environment_id: str) -> None:
        self._parent = os.path.join(root, FOLDER)
        self._environment_id = environment_id

    def name(self) -> str:
        """Return a path that nobody else uses; nothing is made."""
        return os.path.join(self._parent, f"{self._environment_id}.{os.urandom(6).hex()}")

    def folder(self) -> str:
        """Make a new folder and return its path."""
        path = self.name()
        make_folder(path)
        return path

    def clear(self) -> None:
        """Remove all of this environment, and the corner when it is empty then."""
        for path in glob.glob(os.path.join(glob.escape(self._parent), f"{self._environment_id}.*")):
            trees.remove(path)
        with contextlib.suppress(OSError):
            os.rmdir(self._parent)


def make_folder(path: str) -> None:
    """Make a folder whose empty parents another builder may remove at the same moment; OSError."""
    for _ in range(_MADE_AGAIN):
        with contextlib.suppress(FileNotFoundError):
            os.makedirs(path, exist_ok=True)
            return
    raise FileNotFoundError(2, "its parents vanish again and again", path)
