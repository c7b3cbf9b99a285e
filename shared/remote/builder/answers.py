"""What is told about an environment that is there."""

from __future__ import annotations

from shared.remote.builder import trees
from shared.remote.builder.packages.contents import Contents, checksum
from shared.remote.builder.places import Place
from shared.remote.builder.request import FORMAT

Answer = dict[str, object]


def described(contents: Contents, *, command: list[str], installer: str | None) -> Answer:
    """Return what any environment with a task package has; Failure when its manifest cannot be used.

    `command` is what a task's executable (a path below `package_folder`) is appended to.
    """
    manifest, folder = contents.manifest()
    return {
        "command": command,
        "python_version": contents.python_version,
        "installed_version": contents.version,
        "package_folder": folder,
        "freeze": contents.freeze,
        "freeze_sha256": checksum(contents.freeze),
        "manifest": manifest,
        "installer": installer,
    }


def placed(place: Place) -> Answer:
    """Return where it is and what it takes."""
    used, files = trees.measure(place.folder)
    return {
        "folder": place.folder,
        "package": place.package,
        "version": place.version,
        "disk_bytes": used,
        "files": files,
    }


def ready_record(place: Place, answer: Answer, source_type: str) -> dict[str, object]:
    """Return the content of the ready mark."""
    kept = ("python_version", "freeze_sha256", "installer", "command")
    return {
        "format": FORMAT,
        "environment_id": place.environment_id,
        "package": place.package,
        "version": place.version,
        "source": source_type,
        **{name: answer[name] for name in kept},
    }
