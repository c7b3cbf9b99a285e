"""File names of distributions (PEP 427 for wheels; what `pip download` leaves)."""

from __future__ import annotations

import re

from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.names import normalised

_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_]*)"
    r"(?:-(?P<build>[0-9][A-Za-z0-9._]*))?-(?P<python>[A-Za-z0-9._]+)-(?P<abi>[A-Za-z0-9._]+)-(?P<platform>[A-Za-z0-9._]+)\.whl"
)
_SDIST_ENDINGS = (".tar.gz", ".zip", ".tar.bz2", ".tgz")


class WheelName:
    """The parts of a wheel's file name that say what it is."""

    def __init__(self, file_name: str) -> None:
        if file_name.endswith(_SDIST_ENDINGS):
            raise Failure("wheel_is_sdist", f"{file_name} is a source distribution; a wheel (.whl) is needed")
        found = _WHEEL.fullmatch(file_name)
        if found is None:
            text = f"{file_name} is not a wheel's name: NAME-VERSION-PYTHON-ABI-PLATFORM.whl"
            raise Failure("wheel_name_invalid", text)
        self.file_name = file_name
        self.stem = f"{found['name']}-{found['version']}"
        self.package = found["name"]
        self.version = found["version"]


def version_of_file(file_name: str, package: str) -> str | None:
    """Return the version in the file name of a wheel or source distribution of a package."""
    if file_name.endswith(".whl"):
        return file_name.split("-")[1]
    for ending in _SDIST_ENDINGS:
        if file_name.endswith(ending):
            name, _, version = file_name[: -len(ending)].rpartition("-")
            return version if normalised(name) == normalised(package) else None
    return None
