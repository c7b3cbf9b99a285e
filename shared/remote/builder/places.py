"""Where an environment is: `<root>/<package>/<version>/<environment id>/`, and what is in there.

`ready` is written last and removed first: without it nothing counts as there.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterator

from shared.remote.builder import trees
from shared.remote.builder.failures import Failure
from shared.remote.builder.packages import names
from shared.remote.builder.scratch import Scratch, make_folder
from shared.remote.common import durable

READY = "ready"
FREEZE = "freeze.txt"
VENV = "venv"
SENT = "sent"
PROJECT = "project"
WRAPPER = "python"


class Place:
    """The folder of one environment, which may not exist yet."""

    def __init__(self, root: str, package: str, version: str, environment_id: str) -> None:
        self.root = root
        self.package = names.normalised(package)
        self.version = version
        self.environment_id = environment_id
        self.folder = os.path.join(root, self.package, version, environment_id)
        self.scratch = Scratch(root, environment_id)

    def path(self, *parts: str) -> str:
        """Return a path inside."""
        return os.path.join(self.folder, *parts)

    def make(self) -> None:
        """Make the folder where it is not there."""
        make_folder(self.folder)

    def discard(self, *parts: str) -> None:
        """Remove the folder with parents that are empty then, or only a part of it."""
        trees.discard(self.path(*parts), self.scratch.name())
        if not parts:
            for parent in (os.path.dirname(self.folder), os.path.join(self.root, self.package)):
                with contextlib.suppress(OSError):
                    os.rmdir(parent)

    @contextlib.contextmanager
    def discarded_on_failure(self, *parts: str) -> Iterator[None]:
        """Whatever goes wrong inside leaves nothing of the folder, or of the part of it."""
        try:
            yield
        except BaseException:
            self.discard(*parts)
            raise

    def ready(self) -> dict[str, object] | None:
        """Return what the ready mark says, None where there is none that is whole."""
        try:
            with open(self.path(READY), "rb") as file:
                found = json.load(file)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def mark_ready(self, record: dict[str, object]) -> None:
        """Say that all of it is there: whole, on disk, by one rename."""
        self.write(READY, json.dumps(record, indent=1, sort_keys=True).encode() + b"\n")

    def mark_not_ready(self) -> None:
        """Say that it does not count any more, before anything in it changes."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(READY))

    def write(self, name: str, data: bytes) -> None:
        """Give a file this content by one rename."""
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            durable.replace(folder, name, data)
        finally:
            os.close(folder)


def attempts(root: str, package: str, environment_id: str) -> list[Place]:
    """Return the places of this environment under all versions: earlier attempts may have met another newest one."""
    pattern = os.path.join(glob.escape(root), names.normalised(package), "*", environment_id)
    return [Place(root, package, path.split(os.sep)[-2], environment_id) for path in sorted(glob.glob(pattern))]


def nothing_kept(place: Place) -> Failure:
    """Return what to say where there is nothing to rebuild from."""
    text = f"nothing is kept of {place.package} {place.version} that it could be made of again"
    return Failure("environment_not_found", text)
