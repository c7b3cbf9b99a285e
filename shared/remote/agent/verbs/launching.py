"""`launch` on this machine: detached runners, which the claim keeps from running a batch twice.

Each launch has a native id of its own and a locked file `alive.<native id>`, which is there before its process is.
What is answered comes from the claim, so repeating the verb repeats the answer.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time

from shared.remote.agent.errors import from_os, invalid
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.places import Place
from shared.remote.agent.verbs.evidence import batch_place, is_alive, log_tail, read_claim
from shared.remote.common import claims, untrusted
from shared.remote.common.layout import ALIVE_PREFIX, BATCH, LOCAL_PREFIX, RUNNER, RUNNER_LOG

WORD_TIMEOUT_SECONDS = 15.0
LOOK_SECONDS = 0.01
AT_ONCE = 8


class _Launch:
    """A runner that was started and has not spoken yet."""

    def __init__(self, place: Place, folder: int, native_id: str, word: int) -> None:
        self.place = place
        self.folder = folder
        self.native_id = native_id
        self.word = word


def launch(job: Place, batches: list[str], kind: str, umask: int, exchange: Exchange) -> dict[str, object]:
    """Run the verb; `umask` is that of the units."""
    if kind != "local":
        raise invalid(f"this agent cannot launch anything of the kind {kind!r}", "kind")
    answers: dict[str, object] = {}
    for first in range(0, len(batches), AT_ONCE):
        started = {}
        for batch in batches[first : first + AT_ONCE]:
            exchange.moved()
            outcome = _start(job, batch, umask)
            if isinstance(outcome, _Launch):
                started[batch] = outcome
            else:
                answers[batch] = outcome
        deadline = time.monotonic() + WORD_TIMEOUT_SECONDS
        for batch, one in started.items():
            exchange.moved()
            answers[batch] = _outcome(one, deadline)
    return {"batches": answers}


def _start(job: Place, batch: str, umask: int) -> _Launch | dict[str, object]:
    place = batch_place(job, batch)
    try:
        folder = place.open()
    except FileNotFoundError:
        return _failed(f"there is no such batch: {place.shown}")
    try:
        holder = read_claim(folder)
        if holder is not None:
            os.close(folder)
            return _held(holder)
        for name, where in ((BATCH, folder), (RUNNER, None)):
            if not _is_file(name if where else f"{job.shown}/{RUNNER}", where):
                os.close(folder)
                return _failed(f"the batch was not staged completely, {name} is missing: {place.shown}")
        return _spawn(job, place, folder, umask)
    except OSError as error:
        os.close(folder)
        return _failed(from_os(error, place.shown).message)


def _is_file(name: str, folder: int | None) -> bool:
    try:
        descriptor = untrusted.open_regular(name, folder=folder)
    except FileNotFoundError:
        return False
    os.close(descriptor)
    return True


def _spawn(job: Place, place: Place, folder: int, umask: int) -> _Launch:
    native_id = f"{LOCAL_PREFIX}{os.urandom(8).hex()}"
    listening, word = os.pipe2(os.O_CLOEXEC)
    alive = log = -1
    try:
        alive = _locked(folder, native_id)
        log = untrusted.open_regular(RUNNER_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, folder=folder)
        command = [sys.executable, "-I", "-S", f"{job.shown}/{RUNNER}", place.shown, f"--native-id={native_id}"]
        command += [f"--word={word}", f"--umask={umask:o}", "--detach"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(alive, word), start_new_session=True
        )
        _wait(process)
    except OSError:
        os.close(listening)
        _forget(folder, native_id)
        raise
    finally:
        for descriptor in (word, alive, log):
            if descriptor >= 0:
                os.close(descriptor)
    return _Launch(place, folder, native_id, listening)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait until it has detached, which it does at once: the runner is nobody's child."""
    try:
        process.wait(WORD_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _locked(folder: int, native_id: str) -> int:
    """Make the launch's file; it is locked before it gets its name, so that nobody ever sees it free too early."""
    temporary = f".{ALIVE_PREFIX}{native_id}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.rename(temporary, ALIVE_PREFIX + native_id, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _forget(folder: int, native_id: str) -> None:
    try:
        os.unlink(ALIVE_PREFIX + native_id, dir_fd=folder)
    except OSError:
        return


def _outcome(one: _Launch, deadline: float) -> dict[str, object]:
    try:
        word = _listen(one.word, deadline)
        while word == "" and is_alive(one.folder, one.native_id) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)  # it closed the pipe without a word: it is about to end
        holder = read_claim(one.folder)
        if holder is not None:
            return _held(holder)
        if word is None or (word == "" and is_alive(one.folder, one.native_id)):
            # It lives and has said nothing yet: it may still claim. `find` will tell.
            return {"state": "launched", "native_id": one.native_id, "message": "the runner has not reported yet"}
        _forget(one.folder, one.native_id)
        if word.startswith("error "):
            return _failed(word[len("error ") :])
        return _failed(f"the runner ended before it could start: {log_tail(one.folder).strip() or 'no reason given'}")
    except OSError as error:
        return _failed(from_os(error, one.place.shown).message)
    finally:
        os.close(one.word)
        os.close(one.folder)


def _listen(word: int, deadline: float) -> str | None:
    """Return the runner's word, "" when it ended without one, None when it has not spoken in time."""
    data = b""
    while b"\n" not in data:
        ready, _, _ = select.select([word], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        piece = os.read(word, 4096)
        if not piece:
            return ""
        data += piece
    return data.decode("utf-8", "replace").strip()


def _held(holder: claims.Claim) -> dict[str, object]:
    if holder.kind == claims.DAMAGED:
        return _failed("the batch cannot be run: its file claim makes no sense")
    if holder.kind == claims.REVOKED:
        return {"state": "revoked", "native_id": "", "message": "the batch was revoked"}
    return {"state": "launched", "native_id": holder.native_id, "message": ""}


def _failed(message: str) -> dict[str, object]:
    return {"state": "failed", "native_id": "", "message": message}
