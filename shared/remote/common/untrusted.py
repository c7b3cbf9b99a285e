"""Files of a batch's folder as what they are: units own it, and may have put anything into the place of any file.

Nothing is opened that would make the opener wait (a pipe without a writer), no link is followed, and only regular
files are read, as far as an honest one may reach.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat

READ = os.O_RDONLY
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LARGEST_SMALL_FILE_BYTES = 8 * 1024 * 1024
_LONGEST_INTEGER = 20
_LATEST = 253402300799
"""The last second of the year 9999."""
_NATIVE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NOT_FILES = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ENOTDIR)
_OWN = (*_NOT_FILES, errno.EINVAL, errno.EACCES, errno.EPERM)


def open_regular(name: str, flags: int = READ, mode: int = 0o644, *, folder: int | None = None) -> int:
    """Open a regular file without ever waiting for anybody; OSError, `EINVAL` for what is no regular file."""
    try:
        descriptor = os.open(name, flags | _SAFE, mode, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_FILES:
            raise OSError(errno.EINVAL, "Not a regular file", name) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", name)
    # Whoever it is handed to expects that.
    os.set_blocking(descriptor, True)
    return descriptor


def is_somebodys_doing(error: OSError) -> bool:
    """Whether an error comes from what units did to the folder, and will be the same the next time."""
    return error.errno in _OWN


def read_small(folder: int, name: str, limit: int = LARGEST_SMALL_FILE_BYTES) -> bytes | None:
    """Return a regular file's content (at most `limit` bytes of it), None when it is not there."""
    try:
        descriptor = open_regular(name, folder=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def read_tail(folder: int, name: str, limit: int) -> bytes | None:
    """Return the last bytes of a regular file, None when there is no such file."""
    try:
        descriptor = open_regular(name, folder=folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or is_somebodys_doing(error):
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
        return file.read(limit)


def decode(data: bytes) -> object:
    """Return what a JSON document says; ValueError for one that would take long, or that others could not read."""
    try:
        return json.loads(data, parse_int=_integer, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError("an integer is too long")
    return int(digits)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def is_native_id(value: object) -> bool:
    """Whether it may be the name of a launch."""
    return isinstance(value, str) and _NATIVE_ID.fullmatch(value) is not None


def is_text(value: object, longest: int) -> bool:
    """Whether it is a line of text that everybody can store and show."""
    return isinstance(value, str) and len(value) <= longest and _UNPRINTABLE.search(value) is None


def as_text(value: object, longest: int) -> str:
    """Return of a text what everybody can store and show; nothing of what is none."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value[:longest]) if isinstance(value, str) else ""


def is_count(value: object, most: int = 2**63 - 1) -> bool:
    """Whether it is a number of things, at most so many."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def moment(value: object) -> float | None:
    """Return a moment (epoch seconds) that a date can say, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= _LATEST else None
