"""A wheel that somebody sent: looked at before anything of it is used."""

from __future__ import annotations

import email.parser
import os
import posixpath
import stat
import zipfile

from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.names import normalised
from shared.remote.builder.packages.wheel_names import WheelName

MOST_ENTRIES = 100_000
MOST_BYTES = 8 * 1024**3
"""Of all files together, when unpacked."""
HIGHEST_RATIO = 200
"""Unpacked to packed, of the whole file; real packages stay below 20."""
SMALL_BYTES = 50 * 1024 * 1024
"""Up to here the ratio does not matter."""
_MOST_METADATA_BYTES = 1024 * 1024


def check_wheel(path: str) -> WheelName:
    """Return what the wheel is; Failure where it is not what its name says, or is dangerous to unpack."""
    name = WheelName(os.path.basename(path))
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(entries, os.path.getsize(path), name.file_name)
            _check_metadata(archive, name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zipfile.LargeZipFile) as error:
        raise Failure("wheel_not_zip", f"{name.file_name} is not a zip file, as wheels are: {error}") from error
    return name


def _check_entries(entries: list[zipfile.ZipInfo], packed: int, file_name: str) -> None:
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES or total > MOST_BYTES:
        limits = f"the limits are {MOST_ENTRIES:,} and {MOST_BYTES:,}"
        text = f"{file_name} has {len(entries):,} files of {total:,} bytes; {limits}"
        raise Failure("wheel_too_large", text)
    if total > SMALL_BYTES and total > HIGHEST_RATIO * packed:
        text = f"{file_name} would grow from {packed:,} to {total:,} bytes, more than {HIGHEST_RATIO} times"
        raise Failure("wheel_too_large", text)
    for entry in entries:
        plain = posixpath.normpath(entry.filename)
        if plain.startswith(("/", "../")) or plain == ".." or "\\" in entry.filename:
            raise Failure("wheel_unsafe", f"{file_name} holds a file outside of itself: {entry.filename!r}")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Failure("wheel_unsafe", f"{file_name} holds a link: {entry.filename!r}")


def _check_metadata(archive: zipfile.ZipFile, name: WheelName) -> None:
    member = f"{name.stem}.dist-info/METADATA"
    try:
        entry = archive.getinfo(member)
    except KeyError:
        raise Failure("wheel_name_differs", f"{name.file_name} holds no {member}: it is not that wheel") from None
    if entry.file_size > _MOST_METADATA_BYTES:
        raise Failure("wheel_too_large", f"{member} has {entry.file_size:,} bytes")
    text = archive.read(entry).decode("utf-8", "replace")
    headers = email.parser.HeaderParser().parsestr(text)
    found, version = headers.get("Name", ""), headers.get("Version", "")
    if normalised(found) != normalised(name.package) or version.replace("-", "_") != name.version:
        text = f"{name.file_name} says inside that it is {found} {version}"
        raise Failure("wheel_name_differs", text)
