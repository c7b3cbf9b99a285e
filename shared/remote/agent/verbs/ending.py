"""`revoke`: take a batch away from everybody. `cancel`: tell those who run it to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat

from shared.remote.agent.exchange import Exchange
from shared.remote.agent.places import Place
from shared.remote.agent.verbs.evidence import (
    batch_place,
    claim_record,
    is_alive,
    launches_in,
    open_batch,
    read_claim,
)
from shared.remote.common import claims, untrusted
from shared.remote.common.durable import write_new
from shared.remote.common.layout import BATCH, BATCHES, STOP
from shared.remote.common.processes import boot_id, end_marked, signal_process

_TRIES = 20
_ASIDE_PREFIX = ".aside-"


def revoke(job: Place, batches: list[str], exchange: Exchange) -> dict[str, object]:
    """Run the verb."""
    return {"batches": {batch: _revoke(job, batch, exchange) for batch in batches}}


def _revoke(job: Place, batch: str, exchange: Exchange) -> dict[str, object]:
    exchange.moved()
    folder, holder = _take(job, batch)
    try:
        answer: dict[str, object] = {"claim": claim_record(holder)}
        if holder.kind != claims.REVOKED:
            alive = _is_alive(folder, holder)
            answer["alive"] = alive
            if alive is False:
                # Units may have taken a living runner's lock away from sight: it starts nothing more.
                _signal(holder)
                _leave_stop(folder)
                answer["strays_ended"], answer["strays_left"] = end_marked(_mark(folder))
        return answer
    finally:
        os.close(folder)


def _take(job: Place, batch: str) -> tuple[int, claims.Claim]:
    """Hold the batch's folder (made if need be: a late staging or launch is to find it taken) and its claim."""
    place = batch_place(job, batch)
    for _ in range(_TRIES):
        try:
            folder = place.open(create=True, mend=True)
        except FileNotFoundError:
            continue  # a staging gave the job folder its name while we made ours
        except NotADirectoryError:
            for one in (job, job.child(BATCHES), place):
                _put_aside(one)
            continue
        try:
            holder = read_claim(folder) or claims.take(folder, _revocation())
        except claims.ClaimUnreadable:
            holder = claims.Claim(kind=claims.DAMAGED)
        except FileNotFoundError:
            os.close(folder)
            continue
        except BaseException:
            os.close(folder)
            raise
        return folder, holder
    raise FileNotFoundError(2, "the folder keeps vanishing", place.shown)


def _put_aside(place: Place) -> None:
    """Make room for a folder where somebody has put a link or a file into its place."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        parent, name = place.open_parent()
        try:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.rename(name, f"{_ASIDE_PREFIX}{os.urandom(6).hex()}", src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            os.close(parent)


def _revocation() -> claims.Claim:
    return claims.Claim(kind=claims.REVOKED, host=socket.gethostname())


def _is_alive(folder: int, holder: claims.Claim) -> bool | None:
    """Whether the launch that holds the batch lives; where nobody can say which one it is, whether any does."""
    if holder.kind == claims.RUNNER:
        return is_alive(folder, holder.native_id)
    seen = [is_alive(folder, native_id) for native_id in launches_in(folder)]
    return any(seen) if seen else None


def _mark(folder: int) -> str:
    try:
        record = untrusted.decode(untrusted.read_small(folder, BATCH) or b"{}")
    except (ValueError, OSError):
        return ""
    mark = record.get("mark") or record.get("batch_id") or "" if isinstance(record, dict) else ""
    return mark if isinstance(mark, str) else ""


def cancel(job: Place, batches: list[str], exchange: Exchange) -> dict[str, object]:
    """Run the verb."""
    return {"batches": {batch: _cancel(batch_place(job, batch), exchange) for batch in batches}}


def _cancel(place: Place, exchange: Exchange) -> dict[str, object]:
    exchange.moved()
    folder = open_batch(place)
    if folder is None:
        return {"claim": None}
    try:
        holder = read_claim(folder)
        alive = _is_alive(folder, holder) if holder is not None else None
        signalled = holder is not None and alive is True and _signal(holder)
        try:
            _leave_stop(folder)
        except OSError:
            if not signalled:
                raise  # neither way of telling it worked
        return {"claim": claim_record(holder), "alive": alive, "signalled": signalled}
    finally:
        os.close(folder)


def _leave_stop(folder: int) -> None:
    with contextlib.suppress(FileExistsError):
        write_new(folder, STOP, b"")


def _signal(holder: claims.Claim) -> bool:
    if holder.host != socket.gethostname() or holder.boot_id != boot_id():
        return False
    return signal_process(holder.pid, holder.start_time, signal.SIGTERM)
