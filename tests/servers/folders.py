"""Private folders of test servers. A test run that was killed cannot remove its own: the next one does."""

import fcntl
import shutil
import tempfile
import time
from pathlib import Path

_LOCK = "lock"
# A folder younger than this may belong to somebody who is about to lock it.
_SETTLED_SECONDS = 60.0


class PrivateFolder:
    """A new folder with a short path (UNIX sockets allow some 100 characters), locked for as long as we live."""

    def __init__(self, prefix: str) -> None:
        _remove_abandoned(prefix)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        # Not inherited by the servers that we start: they may outlive us, the lock must not.
        self._lock = (self.path / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _remove_abandoned(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            if time.time() - folder.stat().st_mtime > _SETTLED_SECONDS and _is_free(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _is_free(lock: Path) -> bool:
    if not lock.exists():
        return True
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
