"""`find`: what the files of a batch say. Verdicts are made of this, so the order of looking matters."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat

from shared.remote.agent.errors import RequestError
from shared.remote.agent.places import Place
from shared.remote.common import claims
from shared.remote.common.durable import read_small, read_tail
from shared.remote.common.layout import ALIVE_PREFIX, BATCHES, END, EVENTS, RESULTS, RUNNER_LOG
from shared.remote.common.slurm import LAUNCH_LOGS

TAIL_CHARACTERS = 2000
_SHOWN = ("kind", "native_id", "restart", "host", "pid", "at")


def batch_place(job: Place, batch: str) -> Place:
    """Return the place of a batch's folder."""
    return job.child(f"{BATCHES}/{batch}")


def is_alive(folder: int, native_id: str) -> bool | None:
    """Whether a launch on this machine lives; None: there was no such launch here.

    Its processes hold a lock from before its file had a name until the last of them ends.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(ALIVE_PREFIX + native_id, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        raise
    finally:
        os.close(descriptor)
    return False


def length(folder: int, name: str) -> int | None:
    """Length of a regular file, None when it is not there."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def claim_record(claim: claims.Claim | None) -> dict[str, object] | None:
    """Return what of a claim the service is told."""
    return None if claim is None else {name: getattr(claim, name) for name in _SHOWN}


def read_claim(folder: int, place: Place) -> claims.Claim | None:
    """Return the claim; `refused` when it is damaged."""
    try:
        return claims.current(folder)
    except claims.ClaimUnreadable as error:
        raise RequestError("refused", f"{place.shown}: {error}") from error


def log_tail(folder: int, name: str = RUNNER_LOG) -> str:
    """Last words of the runner itself."""
    data = read_tail(folder, name, 4 * TAIL_CHARACTERS) or b""
    return data.decode("utf-8", "replace")[-TAIL_CHARACTERS:]


def find(job: Place, batches: list[str], native_ids: dict[str, str]) -> dict[str, object]:
    """Run the verb. `native_ids`: launches by SLURM whose output is told where the batch has no log of a runner."""
    answers = {}
    for batch in batches:
        answers[batch] = answer = _evidence(batch_place(job, batch))
        if batch in native_ids and not answer.get("runner_log_tail"):
            answer["runner_log_tail"] = _launch_log_tail(job, native_ids[batch])
    return {"batches": answers}


def _launch_log_tail(job: Place, native_id: str) -> str:
    try:
        folder, name = job.child(f"{LAUNCH_LOGS}/{native_id}.log").open_parent()
    except FileNotFoundError:
        return ""
    try:
        return log_tail(folder, name)
    finally:
        os.close(folder)


def _evidence(place: Place) -> dict[str, object]:
    try:
        folder = place.open()
    except FileNotFoundError:
        return {"exists": False}
    try:
        # Locks first: whoever was dead then has written whatever it will ever have written.
        names = sorted(name for name in os.listdir(folder) if name.startswith(ALIVE_PREFIX))
        native_ids = [name[len(ALIVE_PREFIX) :] for name in names]
        launches = [{"native_id": one, "alive": is_alive(folder, one)} for one in native_ids]
        end = _end(folder)
        return {
            "exists": True,
            "launches": launches,
            "claim": claim_record(read_claim(folder, place)),
            "ended": end is not None,
            "end": end,
            "events_length": length(folder, EVENTS),
            "results_length": length(folder, RESULTS),
            "runner_log_tail": log_tail(folder),
        }
    finally:
        os.close(folder)


def _end(folder: int) -> object:
    data = read_small(folder, END)
    try:
        return None if data is None else json.loads(data)
    except ValueError:
        return None
