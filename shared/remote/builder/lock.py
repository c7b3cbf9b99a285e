"""One builder at a time works on an environment; the programs of a killed one hold the lock until they are gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from shared.remote.builder.commands import Commands, say
from shared.remote.builder.scratch import make_folder

_LOOK_SECONDS = 0.1


class Lock:
    """A locked file below the root, which is removed while it is held: nothing is left behind."""

    def __init__(self, root: str, environment_id: str) -> None:
        self._folder = os.path.join(root, ".locks")
        self._path = os.path.join(self._folder, environment_id)
        self._descriptor: int | None = None

    @property
    def taken(self) -> bool:
        """Whether it is held."""
        return self._descriptor is not None

    def take(self, commands: Commands) -> None:
        """Wait for it until the time is over; the commands' programs inherit it from then on."""
        told = False
        while self._descriptor is None:
            descriptor = self._open()
            if self._is_ours(descriptor):
                self._descriptor = commands.held = descriptor
                return
            os.close(descriptor)
            if not told:
                say("an earlier attempt on this environment still runs: waiting for its end")
            told = True
            commands.remaining_seconds()
            time.sleep(_LOOK_SECONDS)

    def release(self) -> None:
        """Let it go."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)
        os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> int:
        while True:
            make_folder(self._folder)
            with contextlib.suppress(FileNotFoundError):
                return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _is_ours(self, descriptor: int) -> bool:
        """Whether nobody held it, and the file is still the one of that name: its last holder removed it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except (BlockingIOError, FileNotFoundError):
            return False
