"""Names and versions as people write them, checked before they become file names or arguments (PEP 503, 508, 440)."""

from __future__ import annotations

import re

from shared.remote.builder.failures import Failure

LONGEST = 200

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.!+_-]*[A-Za-z0-9])?")
_SEPARATORS = re.compile(r"[-_.]+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def normalised(name: str) -> str:
    """Return the one spelling that stands for all spellings of a package's name."""
    return _SEPARATORS.sub("-", name).lower()


def package_name(value: object, what: str = "package") -> str:
    """Return a package's name as it was written; Failure unless it is one."""
    if isinstance(value, str) and len(value) <= LONGEST and _NAME.fullmatch(value):
        return value
    text = f"{what} is not the name of a package: {value!r} (letters, digits, and . _ - between them)"
    raise Failure("package_name_invalid", text)


def version(value: object, what: str = "version") -> str:
    """Return a version as it was written; Failure unless it may be one."""
    if isinstance(value, str) and len(value) <= LONGEST and _VERSION.fullmatch(value):
        return value
    raise Failure("request_invalid", f'{what} is not a version such as "1.2.3": {value!r}')


def plain_name(value: object, what: str) -> str:
    """Return a name that is safe as a file name (an environment's id); Failure otherwise."""
    if isinstance(value, str) and len(value) <= LONGEST and _PLAIN.fullmatch(value):
        return value
    raise Failure("request_invalid", f"{what} must be letters, digits, _ and -: {value!r}")
