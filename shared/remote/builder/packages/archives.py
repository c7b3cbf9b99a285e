"""An archive of a pixi project that somebody sent, `<name>-<version>.tar.gz`: read as a stranger's.

Nothing is unpacked by the names in it blindly: each member is judged, files are made anew below the target, and links
come last, so that nothing is written through them.
"""

from __future__ import annotations

import gzip
import io
import os
import posixpath
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator

from shared.remote.builder.failures import Failure

ENDING = ".tar.gz"
MOST_ENTRIES = 100_000
MOST_BYTES = 4 * 1024**3
"""Of all files together, when unpacked."""
HIGHEST_RATIO = 200
SMALL_BYTES = 50 * 1024 * 1024
"""Up to here the ratio does not matter."""
_MOST_HEADER_BYTES = 1024 * 1024
_MOST_HEADERS_BYTES = 256 * 1024 * 1024
"""Of all files together."""
_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)-(?P<version>[0-9][A-Za-z0-9.!+_]*)\.tar\.gz")
_BLOCK_BYTES = 512


class ArchiveName:
    """The parts of the file name; `stem` is the name of the one folder that is in it."""

    def __init__(self, file_name: str) -> None:
        found = _NAME.fullmatch(file_name)
        if found is None:
            what = (
                "is a wheel, not a pixi project"
                if file_name.endswith(".whl")
                else f"is not named NAME-VERSION{ENDING}"
            )
            raise Failure("archive_name_invalid", f"{file_name} {what}")
        self.file_name = file_name
        self.stem = file_name[: -len(ENDING)]
        self.package = found["name"]
        self.version = found["version"]


class _Measured(io.RawIOBase):
    """Passes on so many bytes as were allowed: a header cannot claim the memory, nor a file the disk."""

    def __init__(self, source: gzip.GzipFile, file_name: str, most: int) -> None:
        super().__init__()
        self._source = source
        self._file_name = file_name
        self._left = most
        self.allowed = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(max(0, size))
        self.allowed -= len(data)
        self._left -= len(data)
        if min(self.allowed, self._left) < 0:
            raise Failure("archive_too_large", f"{self._file_name} has headers that are too large")
        return data


def unpack(path: str, target: str) -> ArchiveName:
    """Unpack what is in the archive's one folder into `target`, which must not exist; Failure or OSError."""
    name = ArchiveName(os.path.basename(path))
    links = {}
    os.makedirs(target)
    for place, member, content in _members(path, name):
        file = os.path.join(target, *place)
        os.makedirs(file if member.isdir() else os.path.dirname(file), exist_ok=True)
        if member.issym():
            links[file] = member.linkname
        elif content is not None:
            _write(file, content, executable=bool(member.mode & 0o100), where=f"{name.file_name}: {member.name}")
    for file, link in links.items():
        if os.path.lexists(file):
            raise Failure("archive_unsafe", f"{name.file_name} holds {file[len(target) + 1 :]!r} twice")
        os.symlink(link, file)
    return name


def read_members(path: str, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the content of those of the files that are in the archive's folder, by name; checks all of it."""
    name = ArchiveName(os.path.basename(path))
    return {
        "/".join(place): content.read(_MOST_HEADER_BYTES)
        for place, _, content in _members(path, name)
        if content is not None and "/".join(place) in names
    }


def _members(path: str, name: ArchiveName) -> Iterator[tuple[list[str], tarfile.TarInfo, io.BufferedIOBase | None]]:
    """Yield (parts of the path below the top folder, what it is, its content when it is a file)."""
    total = count = 0
    most = min(MOST_BYTES, max(SMALL_BYTES, HIGHEST_RATIO * os.path.getsize(path)))
    try:
        with gzip.open(path, "rb") as packed:
            source = _Measured(packed, name.file_name, most + _MOST_HEADERS_BYTES)
            source.allowed = _MOST_HEADER_BYTES
            with tarfile.open(fileobj=source, mode="r|", bufsize=_BLOCK_BYTES) as archive:
                for member in archive:
                    count += 1
                    total += member.size
                    _check_size(name, count, total, most)
                    source.allowed = _MOST_HEADER_BYTES + member.size
                    place = _place(member, name)
                    content = archive.extractfile(member) if member.isreg() else None
                    if place or not member.isdir():
                        yield place, member, content  # type: ignore[misc]
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Failure("archive_unreadable", f"{name.file_name} is not a .tar.gz archive: {error}") from error
    if not count:
        raise Failure("archive_unreadable", f"{name.file_name} is empty")


def _check_size(name: ArchiveName, count: int, total: int, most: int) -> None:
    if count > MOST_ENTRIES:
        raise Failure("archive_too_large", f"{name.file_name} holds more than {MOST_ENTRIES:,} files")
    if total > most:
        raise Failure("archive_too_large", f"{name.file_name} would take more than {most:,} bytes")


def _place(member: tarfile.TarInfo, name: ArchiveName) -> list[str]:
    """Return where a member belongs, as parts below the top folder."""
    plain = posixpath.normpath(member.name)
    parts = plain.split("/")
    where = f"{name.file_name} holds {member.name!r}"
    if member.name.startswith("/") or ".." in member.name.split("/") or "\0" in member.name:
        raise Failure("archive_unsafe", f"{where}, which leads out of it")
    if parts[0] != name.stem:
        raise Failure("archive_top_folder_differs", f"{where}; all of it must be in one folder, {name.stem}")
    if not (member.isreg() or member.isdir() or member.issym()) or member.issparse():
        raise Failure("archive_unsafe", f"{where}, which is neither a file nor a folder")
    if member.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(plain), member.linkname))
        if member.linkname.startswith("/") or not (target + "/").startswith(name.stem + "/"):
            raise Failure("archive_unsafe", f"{where}, a link that leads out of it")
    if len(parts) == 1 and not member.isdir():
        raise Failure("archive_top_folder_differs", f"{where}, which is to be a folder")
    return parts[1:]


def _write(file: str, content: io.BufferedIOBase, *, executable: bool, where: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(file, flags, 0o755 if executable else 0o644)
    except FileExistsError:
        raise Failure("archive_unsafe", f"{where} is in it twice") from None
    with os.fdopen(descriptor, "wb") as written:
        shutil.copyfileobj(content, written)
