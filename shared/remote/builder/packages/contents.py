"""What an environment holds, found by its own Python: versions, the freeze, the package's manifest."""

from __future__ import annotations

import hashlib
import json
import os

from shared.remote.builder.commands import Commands, say
from shared.remote.builder.failures import Failure
from shared.remote.builder.packages import inspection
from shared.remote.builder.packages.manifest import check_executables, read_manifest
from shared.remote.builder.packages.names import normalised


class Contents:
    """`freeze` has a line per distribution, `name==version` or `name @ url`, in the order of their names."""

    def __init__(self, found: dict[str, object], package: str) -> None:
        distributions = found["distributions"]
        self._distributions = distributions if isinstance(distributions, list) else []
        self._package = package
        self.python_version = str(found["python_version"])
        self.version = found["version"] and str(found["version"])
        self._manifests = found["manifests"] if isinstance(found["manifests"], list) else []
        lines = [f"{name} @ {url}" if url else f"{name}=={version}" for name, version, url in self._distributions]
        self.freeze = "".join(line + "\n" for line in lines)

    def version_of(self, package: str) -> str | None:
        """Return the installed version of any package."""
        wanted = normalised(package)
        return next((version for name, version, _ in self._distributions if normalised(name) == wanted), None)

    def manifest(self) -> tuple[dict[str, object], str]:
        """Return the checked manifest, and the package's folder, to which its executables are relative."""
        if self.version is None:
            raise Failure("package_not_found", f"{self._package} is not installed in this environment")
        if not self._manifests:
            text = f"{self._package} {self.version} holds no {inspection.MANIFEST}: it is not a task package"
            raise Failure("manifest_missing", text)
        if len(self._manifests) > 1:
            text = f"{self._package} holds more than one manifest: {', '.join(self._manifests)}"
            raise Failure("manifest_ambiguous", text)
        folder = os.path.dirname(self._manifests[0])
        manifest = read_manifest(self._manifests[0])
        check_executables(manifest, folder, lambda name: os.path.isfile(os.path.join(folder, name)))
        return manifest, folder


def look(commands: Commands, python: str, package: str, *, wrapped: bool = False) -> Contents:
    """Look at an environment with its own Python; Failure when that cannot be run.

    `wrapped`: it is a script that activates the environment first, and tasks are to be found as they will be run,
    with all that the activation sets.
    """
    alone = [] if wrapped else ["-I"]
    done = commands.read([python, *alone, "-c", _source(), package], cwd="/")
    try:
        found = json.loads(done.output.rstrip().splitlines()[-1]) if done.code == 0 else None
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, dict):
        raise Failure("python_not_usable", f"{python} does not say what is installed: {done.words}")
    return Contents(found, package)


def _source() -> str:
    loader = inspection.__loader__
    get_source = getattr(loader, "get_source", None)
    source = get_source(inspection.__name__) if get_source else None
    if not isinstance(source, str):
        raise TypeError("the source of every module of the builder is at hand")
    return source


def checksum(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def show_freeze(contents: Contents) -> None:
    """Write the freeze to the log."""
    say(f"Python {contents.python_version}, {contents.freeze.count(chr(10))} packages:")
    say(contents.freeze.rstrip())
