"""The folder that a stack keeps everything in: databases, keys, sockets, logs, and the address book for `stoker`."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from stoker.errors import Conflict, Invalid

# A UNIX socket's path has at most 107 bytes.
_LONGEST_SOCKET_PATH = 107


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a running stack. `restarts` counts how often it had to be started again."""

    pid: int
    restarts: int = 0


class StackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`stack.json`: where a running stack listens, and its processes. `ready` turns true once, at the start."""

    supervisor_pid: int
    registry: str
    executor: str
    poller: str
    ready: bool = False
    processes: dict[str, ProcessRecord] = {}


class StateFolder:
    """Paths and small files of one stack. Only its owner can enter it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.redis = path / "redis"
        self.redis_socket = _socket_folder(self.redis) / "redis.sock"
        self.jobs = path / "jobs"
        self.tasks = path / "tasks"
        self.admin_key = path / "admin.key"
        self.service_key = path / "service.key"
        self.known_hosts = path / "known_hosts"
        self._record = path / "stack.json"

    def prepare(self) -> None:
        """Make the folder and its parts. Raises Invalid when it cannot be used."""
        try:
            for folder in (self.path, self.logs, self.redis, self.jobs, self.tasks, self.redis_socket.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _keep_to_ourselves(self.path.resolve())
            _keep_to_ourselves(self.redis_socket.parent)
        except OSError as error:
            raise Invalid(f"the state folder cannot be used: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder. Raises Conflict while another stack runs in it."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise Conflict(f"a stack runs in {self.path} already") from error
        try:
            yield
        finally:
            os.close(descriptor)

    def in_use(self) -> bool:
        """Whether a stack runs in it."""
        if not self.path.is_dir():
            return False
        try:
            with self.locked():
                return False
        except Conflict:
            return True

    def read_key(self, path: Path) -> str | None:
        """The key kept in the given file, or None."""
        return path.read_text().strip() if path.exists() else None

    def write_key(self, path: Path, key: str) -> None:
        """Keep a key so that only the owner can read it, and so that it outlasts a power cut."""
        self._replace(path, key.encode() + b"\n")

    def write_record(self, record: StackRecord) -> None:
        """Tell where the stack is."""
        self._replace(self._record, msgspec.json.format(msgspec.json.encode(record)) + b"\n")

    def read_record(self) -> StackRecord | None:
        """Where the stack was last said to be; None when it was stopped."""
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=StackRecord)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None

    def remove_record(self) -> None:
        """Say that the stack is stopped."""
        self._record.unlink(missing_ok=True)
        if self.redis_socket.parent != self.redis:
            with suppress(OSError):  # it is empty by now, or of no further concern
                self.redis_socket.unlink(missing_ok=True)
                self.redis_socket.parent.rmdir()

    def _replace(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f".{path.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _socket_folder(wanted: Path) -> Path:
    """Return the folder of the socket: the wanted one, or a short one of our own where its path is too long."""
    if len(os.fsencode(wanted / "redis.sock")) <= _LONGEST_SOCKET_PATH:
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    return Path("/tmp") / f"stoker-{os.getuid()}-{name}"  # noqa: S108 - it is looked at before it is used


def _keep_to_ourselves(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Invalid(f"{folder} belongs to somebody else")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
