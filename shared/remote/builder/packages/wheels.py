"""A wheel that somebody sent: looked at before anything of it is used."""

from __future__ import annotations

import email.parser
import os
import posixpath
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.inspection import MANIFEST
from shared.remote.builder.packages.manifest import MOST_BYTES as MOST_MANIFEST_BYTES
from shared.remote.builder.packages.manifest import check_executables, parse_manifest
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
_CHUNK_BYTES = 64 * 1024
_LOCAL_HEAD = struct.Struct("<4s22xHH")


def check_wheel(path: str) -> WheelName:
    """Return what the wheel is; Failure where it is not what its name says, or is dangerous to unpack."""
    name = WheelName(os.path.basename(path))
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(entries, os.path.getsize(path), name.file_name)
            with open(path, "rb") as file:
                _check_metadata(archive, file, name)
                for entry in entries:
                    for _ in _content(file, entry, name.file_name):
                        pass
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error, struct.error) as error:
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


def _content(file: BinaryIO, entry: zipfile.ZipInfo, file_name: str) -> Iterator[bytes]:
    """Yield what comes out of an entry; Failure once that is more than its directory says.

    Anybody may write anything into the directory of a zip file.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Failure("wheel_unsafe", f"{file_name} holds {entry.filename!r}, packed in a way that wheels never are")
    file.seek(entry.header_offset)
    magic, name_length, more_length = _LOCAL_HEAD.unpack(file.read(_LOCAL_HEAD.size))
    if magic != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"there is no entry where {entry.filename!r} is to be")
    file.seek(name_length + more_length, os.SEEK_CUR)
    left, packed = entry.file_size, entry.compress_size
    inflated = zlib.decompressobj(-zlib.MAX_WBITS) if entry.compress_type == zipfile.ZIP_DEFLATED else None
    while packed > 0 and (data := file.read(min(packed, _CHUNK_BYTES))):
        packed -= len(data)
        piece = b""
        while data or len(piece) == _CHUNK_BYTES:
            piece = data if inflated is None else inflated.decompress(data, _CHUNK_BYTES)
            data = b"" if inflated is None else inflated.unconsumed_tail
            left -= len(piece)
            if left < 0:
                text = f"{file_name} holds more in {entry.filename!r} than the {entry.file_size:,} bytes it says"
                raise Failure("wheel_too_large", text)
            yield piece


def _check_metadata(archive: zipfile.ZipFile, file: BinaryIO, name: WheelName) -> None:
    entry = next((one for one in archive.infolist() if _is_metadata_of(name, one.filename)), None)
    if entry is None:
        member = f"{name.stem}.dist-info/METADATA"
        raise Failure("wheel_name_differs", f"{name.file_name} holds no {member}: it is not that wheel")
    member = entry.filename
    if entry.file_size > _MOST_METADATA_BYTES:
        raise Failure("wheel_too_large", f"{member} has {entry.file_size:,} bytes")
    text = b"".join(_content(file, entry, name.file_name)).decode("utf-8", "replace")
    headers = email.parser.HeaderParser().parsestr(text)
    found, version = headers.get("Name", ""), headers.get("Version", "")
    if normalised(found) != normalised(name.package) or not _same_version(version, name.version):
        text = f"{name.file_name} says inside that it is {found} {version}"
        raise Failure("wheel_name_differs", text)


def _is_metadata_of(name: WheelName, member: str) -> bool:
    """Whether this is the metadata of that wheel: its folder may be spelled in another way than the file."""
    folder, _, file = member.partition("/")
    package, _, version = folder.removesuffix(".dist-info").rpartition("-")
    right_place = file == "METADATA" and folder.endswith(".dist-info")
    return right_place and normalised(package) == normalised(name.package) and _same_version(version, name.version)


def _same_version(one: str, other: str) -> bool:
    """Whether two spellings in names of files mean one version ("1.0+a.b", "1.0+a_b")."""
    return normalised(one) == normalised(other)


def read_wheel_manifest(path: str) -> dict[str, object]:
    """Return the checked manifest in a wheel that was checked before; Failure where no good one is in it."""
    file_name = os.path.basename(path)
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        members = {entry.filename: entry for entry in archive.infolist()}
        found = [member for member in members if posixpath.basename(member) == MANIFEST]
        if not found:
            raise Failure("manifest_missing", f"{file_name} holds no {MANIFEST}: it is not a task package")
        if len(found) > 1:
            raise Failure("manifest_ambiguous", f"{file_name} holds more than one manifest: {', '.join(found)}")
        if members[found[0]].file_size > MOST_MANIFEST_BYTES:
            raise Failure("manifest_invalid", f"the manifest has more than {MOST_MANIFEST_BYTES:,} bytes")
        manifest = parse_manifest(b"".join(_content(file, members[found[0]], file_name)))
    folder = posixpath.dirname(found[0])
    check_executables(manifest, folder or file_name, lambda name: posixpath.normpath(f"{folder}/{name}") in members)
    return manifest
