"""Confinement: a file is named by a root and a path below it, and no step on the way may be a link.

Folders are opened one part at a time, each relative to the one before, so that nothing that happens meanwhile (a
folder replaced by a link) leads out.
"""

from __future__ import annotations

import errno
import os
import stat

from shared.remote.agent.arguments import text
from shared.remote.agent.errors import RequestError, invalid

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_PATH_BYTES = 4096
_LONGEST_NAME_BYTES = 255
FOLDER_MODE = 0o700


def parts_of(path: str, field: str = "path") -> list[str]:
    """Return the names in a relative, normalised path; `invalid` for anything else."""
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise invalid(f"{field} is not a file name: {path!r}", field) from error
    if b"\0" in encoded or len(encoded) > _LONGEST_PATH_BYTES:
        raise invalid(f"{field} holds a null byte or is too long", field)
    parts = path.split("/") if path else []
    for part in parts:
        if part in ("", ".", ".."):
            raise invalid(f"{field} has to be relative and normalised, without '..': {path!r}", field)
        if len(os.fsencode(part)) > _LONGEST_NAME_BYTES:
            raise invalid(f"{field} holds a name of more than {_LONGEST_NAME_BYTES} bytes", field)
    return parts


class Place:
    """A name below a root. `shown` is the absolute path, for messages."""

    def __init__(self, root: str, parts: list[str]) -> None:
        self.root = root
        self.parts = parts
        self.shown = "/".join([root.rstrip("/"), *parts])

    def child(self, name: str) -> Place:
        """Return a name (one or more parts) below this one."""
        return Place(self.root, self.parts + parts_of(name))

    def open(self, *, create: bool = False, mend: bool = False) -> int:
        """Open it as a folder (the caller closes it); OSError. `create` makes what is missing on the way.

        `mend`: a folder of ours that units have locked is unlocked.
        """
        if create:
            _make_root(self.root)
        current = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in self.parts:
            try:
                if create:
                    _make(current, part)
                below = _open_mended(current, part) if mend else os.open(part, _FOLDER, dir_fd=current)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise OSError(errno.ENOTDIR, "A folder is needed, not a link or a file", part) from error
                raise
            finally:
                os.close(current)
            current = below
        return current

    def open_parent(self, *, create: bool = False) -> tuple[int, str]:
        """Open the folder that it is in; returns (folder, its own name). `invalid` for a root itself."""
        if not self.parts:
            raise invalid("a root itself cannot be named here", "path")
        return Place(self.root, self.parts[:-1]).open(create=create), self.parts[-1]


def _make_root(root: str) -> None:
    try:
        os.makedirs(root, FOLDER_MODE, exist_ok=True)
    except OSError as error:
        where = os.fsdecode(error.filename or root)
        words = f"{error.strerror} (the profile's jobs_remote_dir may name a folder that its user may write to)"
        raise OSError(error.errno, words, where) from error


def _open_mended(folder: int, name: str) -> int:
    try:
        opened = os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        _unlock(folder, name)
        opened = os.open(name, _FOLDER, dir_fd=folder)
    found = os.fstat(opened)
    if found.st_mode & stat.S_IRWXU != stat.S_IRWXU and found.st_uid == os.getuid():
        os.fchmod(opened, stat.S_IMODE(found.st_mode) | stat.S_IRWXU)
    return opened


def _unlock(folder: int, name: str) -> None:
    """Let us into a folder; its name is never followed to another one."""
    seen = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{seen}", stat.S_IRWXU)
    finally:
        os.close(seen)


def _make(folder: int, name: str) -> None:
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)
    except FileExistsError:
        return


class Roots:
    """The folders that this pipe was opened for."""

    def __init__(self, roots: dict[str, object], home: str) -> None:
        self.paths: dict[str, str] = {}
        for name, path in roots.items():
            if not isinstance(path, str) or "\0" in path:
                raise invalid(f"the root {name} has to be a path", f"roots.{name}")
            absolute = os.path.join(home, path[2:]) if path.startswith("~/") else path
            if not absolute.startswith("/") or ".." in absolute.split("/"):
                raise invalid(f"the root {name} has to be absolute, or start with ~/: {path!r}", f"roots.{name}")
            self.paths[name] = os.path.normpath(absolute)

    def place(self, record: dict[str, object]) -> Place:
        """Return the place that a request's `root` and `path` name."""
        name = text(record, "root")
        if name not in self.paths:
            raise RequestError("refused", f"the pipe was not opened for a root {name!r}", field="root")
        return Place(self.paths[name], parts_of(text(record, "path")))
