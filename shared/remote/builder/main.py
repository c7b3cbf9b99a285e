"""Start of the builder: `builder.py --args-json FILE --out-json FILE`.

Exit codes: 0 the out file says what came of it (`outcome` is `done` or `failed`), 64 wrong usage, 70 there is no out
file because of an error that its log shows, 128 and a signal's number: it was told to end, and has tidied up (why is
for the runner to say). Killed by a signal: nothing is said, and the next attempt tidies up.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from types import FrameType

from shared.remote.builder import removal
from shared.remote.builder.answers import Answer
from shared.remote.builder.commands import Commands, say
from shared.remote.builder.failures import Failure
from shared.remote.builder.installing import existing
from shared.remote.builder.installing.pixi import PixiProjects
from shared.remote.builder.installing.venvs import Venvs
from shared.remote.builder.kernel import adopt_orphans
from shared.remote.builder.lock import Lock
from shared.remote.builder.request import FORMAT, Request, read_request
from shared.remote.builder.scratch import Scratch, make_folder

USAGE_EXIT = 64
FAILED_EXIT = 70
SIGNAL_EXIT = 128
_UMASK = 0o022
_FOREIGN = ("PYTHON", "VIRTUAL_ENV", "CONDA_")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


class _Interrupted(Failure):
    """It was told to end, by this signal."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted", f"it was ended by signal {number} ({signal.Signals(number).name})")
        self.number = number


def main(arguments: list[str]) -> int:
    """Do what the arguments file says; returns the exit code."""
    options = dict(zip(arguments[::2], arguments[1::2]))
    if set(options) != {"--args-json", "--out-json"}:
        sys.stderr.write("usage: builder.py --args-json FILE --out-json FILE\n")
        return USAGE_EXIT
    os.umask(_UMASK)
    adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    out = os.path.abspath(options["--out-json"])
    try:
        result: Answer = {"outcome": "done", "environment": _act(read_request(options["--args-json"]))}
    except _Interrupted as interruption:
        say(f"failed: {interruption.text}")
        return SIGNAL_EXIT + interruption.number
    except Failure as failure:
        result = _failed(failure)
    except OSError as error:
        result = _failed(_failure_of(error))
    try:
        with open(out, "w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, **result}, file)
    except OSError as error:
        say(f"the result could not be written: {error}")
        return FAILED_EXIT
    return 0


def _act(request: Request) -> Answer:
    commands = Commands(_environment(), time_limit_seconds=request.time_limit_seconds)
    if request.source_type == "existing" and request.action != "remove":
        return existing.describe(request, commands)
    make_folder(request.root)
    lock = Lock(request.root, request.environment_id)
    scratch = Scratch(request.root, request.environment_id)
    try:
        lock.take(commands)
        scratch.clear()
        return _locked(request, commands, scratch)
    finally:
        if lock.taken:
            scratch.clear()
        lock.release()


def _locked(request: Request, commands: Commands, scratch: Scratch) -> Answer:
    if request.action == "remove":
        return removal.remove(request)
    if request.action == "measure":
        return removal.measure(request)
    kind = PixiProjects if request.source_type == "pixi" else Venvs
    work = kind(request, commands, scratch)
    return work.create() if request.action == "create" else work.rebuild()


def _environment() -> dict[str, str]:
    """Return what the programs get: the person's own, without what would lead into another environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def _interrupted(number: int, frame: FrameType | None) -> None:
    del frame
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)
    raise _Interrupted(number)


def _failure_of(error: OSError) -> Failure:
    where = f": {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        return Failure("disk_full", f"the disk is full{where}")
    code = "not_permitted" if error.errno in _NOT_PERMITTED else "file_error"
    return Failure(code, f"{error.strerror or error}{where}")


def _failed(failure: Failure) -> Answer:
    say(f"failed: {failure.text}")
    return {"outcome": "failed", "error": {"code": failure.code, "text": failure.text}}
