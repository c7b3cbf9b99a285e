"""`find`: what the files of a batch say. Verdicts are made of this, so the order of looking matters."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat

from shared.remote.agent.exchange import Exchange
from shared.remote.agent.places import Place
from shared.remote.common import claims, untrusted
from shared.remote.common.layout import ALIVE_PREFIX, BATCHES, END, EVENTS, LOCAL_PREFIX, RESULTS, RUNNER_LOG
from shared.remote.common.slurm import LAUNCH_LOGS

TAIL_CHARACTERS = 2000
_SHOWN = ("kind", "native_id", "restart", "host", "pid", "at")
_MOST_ENTRIES = 100_000
_MOST_LAUNCHES = 100
"""Of a folder are looked at: units may put any number into it."""
_LARGEST_END_BYTES = 64 * 1024
_LONGEST = 2000


def batch_place(job: Place, batch: str) -> Place:
    """Return the place of a batch's folder."""
    return job.child(f"{BATCHES}/{batch}")


def open_batch(place: Place) -> int | None:
    """Open a batch's folder; None where there is no folder, whatever else there is."""
    try:
        return place.open(mend=True)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_alive(folder: int, native_id: str) -> bool | None:
    """Whether a launch on this machine lives; None: there was no such launch here.

    Its processes hold a lock from before its file had a name until the last of them ends. Without its file, or with
    something else in its place, a launch shows no sign of life.
    """
    try:
        descriptor = untrusted.open_regular(ALIVE_PREFIX + native_id, folder=folder)
    except FileNotFoundError:
        return False if native_id.startswith(LOCAL_PREFIX) else None
    except OSError as error:
        if untrusted.is_somebodys_doing(error):
            return False
        raise
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


def is_absent(folder: int, name: str) -> bool:
    """Whether a folder holds nothing of this name."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False


def claim_record(claim: claims.Claim | None) -> dict[str, object] | None:
    """Return what of a claim the service is told."""
    return None if claim is None else {name: getattr(claim, name) for name in _SHOWN}


def read_claim(folder: int) -> claims.Claim | None:
    """Return the claim; one of the kind `damaged` where nobody can read it."""
    try:
        return claims.current(folder)
    except claims.ClaimUnreadable:
        return claims.Claim(kind=claims.DAMAGED)


def log_tail(folder: int, name: str = RUNNER_LOG) -> str:
    """Last words of the runner itself."""
    data = untrusted.read_tail(folder, name, 4 * TAIL_CHARACTERS) or b""
    return data.decode("utf-8", "replace")[-TAIL_CHARACTERS:]


def find(job: Place, batches: list[str], native_ids: dict[str, str], exchange: Exchange) -> dict[str, object]:
    """Run the verb. `native_ids`: launches by SLURM whose output is told where the batch has no log of a runner."""
    answers = {}
    for batch in batches:
        exchange.moved()
        answers[batch] = answer = _evidence(batch_place(job, batch))
        if batch in native_ids and not answer.get("runner_log_tail"):
            answer["runner_log_tail"] = _launch_log_tail(job, native_ids[batch])
    return {"batches": answers}


def _launch_log_tail(job: Place, native_id: str) -> str:
    try:
        folder, name = job.child(f"{LAUNCH_LOGS}/{native_id}.log").open_parent()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        return log_tail(folder, name)
    finally:
        os.close(folder)


def _evidence(place: Place) -> dict[str, object]:
    folder = open_batch(place)
    if folder is None:
        return {"exists": False}
    try:
        # Locks first: whoever was dead then has written whatever it will ever have written.
        launches = {native_id: is_alive(folder, native_id) for native_id in launches_in(folder)}
        damage: list[str] = []
        claim = read_claim(folder)
        if claim is not None and claim.kind == claims.RUNNER and claim.native_id not in launches:
            alive = is_alive(folder, claim.native_id)
            launches |= {} if alive is None else {claim.native_id: alive}
        elif claim is not None and claim.kind == claims.DAMAGED:
            damage.append("the file claim makes no sense")
        end = _end(folder, damage)
        return {
            "exists": True,
            "launches": [{"native_id": one, "alive": alive} for one, alive in launches.items()],
            "claim": claim_record(claim),
            "ended": end is not None,
            "end": end,
            "events_length": _told_length(folder, EVENTS, damage),
            "results_length": _told_length(folder, RESULTS, damage),
            "runner_log_tail": log_tail(folder),
            "damage": damage,
        }
    finally:
        os.close(folder)


def launches_in(folder: int) -> list[str]:
    """Return the launches on this machine that have left their file."""
    with os.scandir(folder) as entries:
        names = [one.name for one in itertools.islice(entries, _MOST_ENTRIES) if one.name.startswith(ALIVE_PREFIX)]
    found = (name[len(ALIVE_PREFIX) :] for name in sorted(names))
    return list(itertools.islice(filter(untrusted.is_native_id, found), _MOST_LAUNCHES))


def _told_length(folder: int, name: str, damage: list[str]) -> int | None:
    found = length(folder, name)
    if found is None and not is_absent(folder, name):
        damage.append(f"{name} is not a regular file")
    return found


def _end(folder: int, damage: list[str]) -> dict[str, object] | None:
    """Return the end record; None where there is none that makes sense."""
    try:
        data = untrusted.read_small(folder, END, _LARGEST_END_BYTES)
        record = None if data is None else untrusted.decode(data)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not untrusted.is_somebodys_doing(error):
            raise
        damage.append(f"the file {END} makes no sense")
        return None
    if record is None and data is None:
        return None
    if not isinstance(record, dict) or not _is_sound_end(record):
        damage.append(f"the file {END} makes no sense")
        return None
    told = {name: record[name] for name in ("how", "at", "native_id", "results")}
    return {**told, "restart": record.get("restart", 0), "reason": untrusted.as_text(record.get("reason"), _LONGEST)}


def _is_sound_end(record: dict[str, object]) -> bool:
    return (
        record.get("how") in ("complete", "interrupted")
        and untrusted.moment(record.get("at")) is not None
        and (record.get("native_id") == "" or untrusted.is_native_id(record.get("native_id")))
        and untrusted.is_count(record.get("results"))
        and untrusted.is_count(record.get("restart", 0), 10**9)
    )
