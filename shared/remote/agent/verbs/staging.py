"""`stage`: a stream of files becomes a new folder, complete or absent.

The files go into a temporary sibling, which is on disk before one rename gives it its name. A lock on it tells a
staging that is under way from what a killed agent left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tarfile

from shared.remote.agent.errors import invalid
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.places import FOLDER_MODE, Place, parts_of
from shared.remote.agent.trees import delete, delete_leftovers
from shared.remote.common.durable import NEW_FILE, write_all

PREFIX = ".staging-"
_COPY_BYTES = 64 * 1024
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def stage(place: Place, exchange: Exchange) -> dict[str, object]:
    """Run the verb; {"created": false} when the folder is there already."""
    parent, name = place.open_parent(create=True)
    try:
        if _exists(parent, name):
            return {"created": False}
        delete_leftovers(parent, f"{PREFIX}{name}-", exchange.moved)
        temporary, inside = _make_temporary(parent, name)
        try:
            _unpack(inside, exchange)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                delete(parent, temporary, exchange.moved)
                return {"created": False}
        except BaseException:
            delete(parent, temporary, exchange.moved)
            raise
        finally:
            os.close(inside)
        os.fsync(parent)
        return {"created": True}
    finally:
        os.close(parent)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_temporary(parent: int, name: str) -> tuple[str, int]:
    """Return the name of a new folder and the folder itself, locked."""
    while True:
        temporary = f"{PREFIX}{name}-{os.urandom(8).hex()}"
        os.mkdir(temporary, FOLDER_MODE, dir_fd=parent)
        try:
            inside = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            continue  # taken for a leftover before it was locked
        fcntl.flock(inside, fcntl.LOCK_EX)
        if _exists(parent, temporary):
            return temporary, inside
        os.close(inside)


class _Incoming:
    """The incoming stream as the file that tarfile reads from."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._buffer = b""

    def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = self._exchange.receive()
            if not data:
                break
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data


def _unpack(folder: int, exchange: Exchange) -> None:
    folders: set[tuple[str, ...]] = set()
    files = 0
    try:
        with tarfile.open(fileobj=_Incoming(exchange), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                parts = parts_of(member.name, "the archive")
                regular = member.isreg() and not member.issparse()
                if not parts or not (regular or member.isdir()):
                    raise invalid(f"the archive holds something other than files and folders: {member.name!r}")
                parents = parts[:-1] if regular else parts
                for depth in range(1, len(parents) + 1):
                    folders.add(tuple(parents[:depth]))
                inside = _open_below(folder, parents)
                try:
                    if regular:
                        _write(inside, parts[-1], member, archive)
                finally:
                    os.close(inside)
                files += 1
    except tarfile.TarError as error:
        raise invalid(f"the archive is damaged: {error}") from error
    except FileExistsError as error:
        raise invalid(f"the archive names something twice: {error.filename}") from error
    if not files:
        raise invalid("the archive is empty")
    for parts_below in sorted(folders, key=len, reverse=True):
        inside = _open_below(folder, list(parts_below))
        os.fsync(inside)
        os.close(inside)
    os.fsync(folder)


def _open_below(folder: int, parts: list[str]) -> int:
    current = os.dup(folder)
    for part in parts:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, FOLDER_MODE, dir_fd=current)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
        finally:
            os.close(current)
        current = below
    return current


def _write(folder: int, name: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
    source = archive.extractfile(member)
    descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=folder)
    try:
        while source is not None:
            data = source.read(_COPY_BYTES)
            if not data:
                break
            write_all(descriptor, data)
        os.fchmod(descriptor, member.mode & 0o777)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
