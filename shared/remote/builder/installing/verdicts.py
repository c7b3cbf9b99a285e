"""What the words of pip and uv mean: both end with the same exit code for everything."""

from __future__ import annotations

import re

from shared.remote.builder.commands import Finished
from shared.remote.builder.failures import Failure

_UNREACHABLE = re.compile(
    r"connection broken by|Failed to establish a new connection|Max retries exceeded|error sending request"
    r"|Failed to fetch|client error \(Connect\)|Connection refused|Temporary failure in name resolution|timed out",
    re.IGNORECASE,
)
_CONTRADICT = re.compile(
    r"ResolutionImpossible|conflicting dependencies|conflicts? with|requirements are unsatisfiable"
    r"|Cannot install .* because|Double requirement given",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(r"No space left on device|os error 28\b|Errno 28\b|Disk quota exceeded|os error 122\b")
_ABSENT = re.compile(r"was not found in the package registry|No matching distribution found|there is no version of")


def failed_install(done: Finished, what: str) -> Failure:
    """Return why an installation failed."""
    if _DISK_FULL.search(done.output):
        return Failure("disk_full", f"the disk is full: {what} could not be installed")
    if _CONTRADICT.search(done.output):
        return Failure("requirements_contradict", f"no versions fit together for {what}: {done.words}")
    if _UNREACHABLE.search(done.output):
        return Failure("index_unreachable", f"the package index could not be reached: {done.words}")
    if _ABSENT.search(done.output):
        return Failure("requirements_contradict", f"something that {what} needs cannot be had: {done.words}")
    return Failure("install_failed", f"{what} could not be installed: {done.words}")


def check_answered(done: Finished, name: str) -> None:
    """Failure unless the index answered that it has no such package."""
    if _DISK_FULL.search(done.output):
        raise Failure("disk_full", f"the disk is full: {name} could not be looked up")
    if _UNREACHABLE.search(done.output):
        raise Failure("index_unreachable", f"the package index could not be reached: {done.words}")
    if not _ABSENT.search(done.output):
        raise Failure("install_failed", f"{name} could not be looked up: {done.words}")


def check_made(done: Finished, python: str) -> None:
    """Failure unless a virtual environment could be made."""
    if done.code and _DISK_FULL.search(done.output):
        raise Failure("disk_full", "the disk is full: no virtual environment could be made")
    if done.code:
        raise Failure("python_not_usable", f"{python} cannot make a virtual environment: {done.words}")
