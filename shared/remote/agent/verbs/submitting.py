"""`submit`: sbatch, started at most once for each marker, however often the verb is repeated.

Before sbatch is started, a file `<marker>.intent` says that it will be. It is locked from before it has its name
until the answer is recorded; sbatch inherits the lock, so that it also shows an sbatch that outlives its agent. An
agent that dies in between leaves an intent that is free and has no answer: sbatch may or may not have been started,
and the caller has to ask SLURM for the marker before it tries again, with another one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import subprocess
import threading
import time

from shared.remote.agent import commands
from shared.remote.agent.errors import RequestError, invalid
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.places import Place
from shared.remote.common import untrusted
from shared.remote.common.durable import NEW_FILE, replace, write_all
from shared.remote.common.slurm import LAUNCH_LOGS, LAUNCHES

WAIT_SECONDS = 30
ANSWER_BYTES = 64 * 1024
_INTENT_BYTES = 4096
_EXIT_BYTES = 32
_LOOK_SECONDS = 0.01
_MARKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_UNDER_WAY = (errno.EWOULDBLOCK, errno.EACCES)


def submit(
    job: Place, *, marker: str, script: str, arguments: list[str], umask: int, wait_seconds: int, exchange: Exchange
) -> dict[str, object]:
    """Run the verb; waits up to `wait_seconds` for sbatch. `umask` is what the job's processes start with."""
    if not _MARKER.fullmatch(marker):
        raise invalid("a marker is at most 128 letters, digits, dots, dashes and underscores", "marker")
    _check(arguments, f"{job.shown}/{LAUNCHES}/{marker}.sh")
    program = commands.program("sbatch")
    os.close(job.open())  # a job folder that is not there is not made
    os.close(job.child(LAUNCH_LOGS).open(create=True))
    folder = job.child(LAUNCHES).open(create=True)
    try:
        if not _exists(folder, f"{marker}.intent"):
            replace(folder, f"{marker}.sh", script.encode("utf-8", "surrogateescape"))
            intent = _intend(folder, marker)
            if intent is not None:
                _start(job, folder, marker, [program, *arguments], umask, intent)
        return _recorded(folder, marker, wait_seconds, exchange)
    finally:
        os.close(folder)


def _check(arguments: list[str], script: str) -> None:
    if not arguments or arguments[-1] != script:
        raise invalid(f"the last argument has to be the script, {script}", "arguments")
    for one in arguments[:-1]:
        if not one.startswith("--") or one == "--" or "\0" in one:
            raise invalid(f"an argument of sbatch has to be a long option: {one!r}", "arguments")


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _intend(folder: int, marker: str) -> int | None:
    """Make the intent and return it, locked; None when it was there already."""
    nonce = os.urandom(8).hex()
    temporary, name = f".intent-{nonce}", f"{marker}.intent"
    record = json.dumps({"submitted_at": time.time(), "nonce": nonce}).encode()
    descriptor = os.open(temporary, NEW_FILE, 0o600, dir_fd=folder)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            write_all(descriptor, record)
            os.fsync(descriptor)
            failure = None
            try:
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                failure = error  # a network file system may say so to the winner: what is there decides
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
        found = untrusted.read_small(folder, name, _INTENT_BYTES)
        os.fsync(folder)
    except BaseException:
        os.close(descriptor)
        raise
    if found == record:
        return descriptor
    os.close(descriptor)
    if found is None:
        raise failure or FileNotFoundError(errno.ENOENT, "the intent vanished", name)
    return None


def _start(job: Place, folder: int, marker: str, command: list[str], umask: int, intent: int) -> None:
    """Start sbatch, immune to hang-ups and to the agent's death."""
    output = errors = own = -1
    try:
        output = os.open(f"{marker}.out", NEW_FILE, 0o600, dir_fd=folder)
        errors = os.open(f"{marker}.err", NEW_FILE, 0o600, dir_fd=folder)
        own = os.dup(folder)
        process = subprocess.Popen(
            command,
            env=commands.clean_environment(),
            cwd=job.shown,
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=(intent,),
            start_new_session=True,
        )
    except OSError:
        # Nothing was started: the same marker may be tried again.
        for name in (f"{marker}.out", f"{marker}.err", f"{marker}.intent"):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
        os.close(intent)
        if own >= 0:
            os.close(own)
        raise
    finally:
        for descriptor in (output, errors):
            if descriptor >= 0:
                os.close(descriptor)
    # Not the thread of the request, which may be given up: the answer is recorded in any case.
    threading.Thread(target=_note_exit, args=(process, own, marker, intent), daemon=True).start()


def _note_exit(process: subprocess.Popen[bytes], folder: int, marker: str, intent: int) -> None:
    exit_code = process.wait()
    try:
        with contextlib.suppress(OSError):  # a full disk: sbatch's own words have to do
            replace(folder, f"{marker}.exit", str(exit_code).encode())
    finally:
        os.close(intent)
        os.close(folder)


def _recorded(folder: int, marker: str, wait_seconds: int, exchange: Exchange) -> dict[str, object]:
    """Wait while sbatch is under way, then return what is known of it."""
    under_way = _under_way(folder, marker)
    deadline = time.monotonic() + wait_seconds
    while under_way and time.monotonic() < deadline:
        exchange.pause(_LOOK_SECONDS)
        under_way = _under_way(folder, marker)
    return {
        "exit_code": None if under_way else _exit_code(folder, marker),
        "stdout": _text(folder, f"{marker}.out"),
        "stderr": _text(folder, f"{marker}.err"),
        "submitted_at": _submitted_at(folder, marker),
        "under_way": under_way,
    }


def _under_way(folder: int, marker: str) -> bool:
    try:
        descriptor = untrusted.open_regular(f"{marker}.intent", folder=folder)
    except FileNotFoundError as error:
        raise RequestError("unavailable", "sbatch could not be started: try again") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNDER_WAY:
            return True
        raise
    finally:
        os.close(descriptor)
    return False


def _text(folder: int, name: str) -> str:
    return (untrusted.read_small(folder, name, ANSWER_BYTES) or b"").decode("utf-8", "replace")


def _exit_code(folder: int, marker: str) -> int | None:
    try:
        code = int(untrusted.read_small(folder, f"{marker}.exit", _EXIT_BYTES) or b"")
    except ValueError:
        return None
    return code if abs(code) < 2**31 else None


def _submitted_at(folder: int, marker: str) -> float:
    try:
        record = untrusted.decode(untrusted.read_small(folder, f"{marker}.intent", _INTENT_BYTES) or b"")
        submitted_at = record["submitted_at"] if isinstance(record, dict) else None
    except (ValueError, KeyError) as error:
        raise RequestError("refused", f"the file {marker}.intent is damaged: {error}") from error
    moment = untrusted.moment(submitted_at)
    if moment is None:
        raise RequestError("refused", f"the file {marker}.intent is damaged")
    return moment
