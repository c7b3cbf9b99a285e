"""`revoke`: take a batch away from everybody. `cancel`: tell those who run it to stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket

from shared.remote.agent.places import Place
from shared.remote.agent.verbs.evidence import batch_place, claim_record, is_alive, read_claim
from shared.remote.common import claims
from shared.remote.common.durable import read_small, write_new
from shared.remote.common.layout import BATCH, STOP
from shared.remote.common.processes import boot_id, end_marked, signal_process

_TRIES = 20


def revoke(job: Place, batches: list[str]) -> dict[str, object]:
    """Run the verb."""
    return {"batches": {batch: _revoke(batch_place(job, batch)) for batch in batches}}


def _revoke(place: Place) -> dict[str, object]:
    folder, holder = _take(place)
    try:
        answer: dict[str, object] = {"claim": claim_record(holder)}
        if holder.kind == claims.RUNNER:
            alive = is_alive(folder, holder.native_id)
            answer["alive"] = alive
            if alive is False:
                answer["strays_ended"], answer["strays_left"] = end_marked(_mark(folder))
        return answer
    finally:
        os.close(folder)


def _take(place: Place) -> tuple[int, claims.Claim]:
    """Hold the batch's folder (made if need be: a late staging or launch is to find it taken) and its claim."""
    for _ in range(_TRIES):
        try:
            folder = place.open(create=True)
        except FileNotFoundError:
            continue  # a staging gave the job folder its name while we made ours
        try:
            holder = read_claim(folder, place) or claims.take(folder, _revocation())
        except FileNotFoundError:
            os.close(folder)
            continue
        except BaseException:
            os.close(folder)
            raise
        return folder, holder
    raise FileNotFoundError(2, "the folder keeps vanishing", place.shown)


def _revocation() -> claims.Claim:
    return claims.Claim(kind=claims.REVOKED, host=socket.gethostname())


def _mark(folder: int) -> str:
    try:
        record = json.loads(read_small(folder, BATCH) or b"{}")
    except ValueError:
        return ""
    mark = record.get("mark") or record.get("batch_id") or "" if isinstance(record, dict) else ""
    return mark if isinstance(mark, str) else ""


def cancel(job: Place, batches: list[str]) -> dict[str, object]:
    """Run the verb."""
    return {"batches": {batch: _cancel(batch_place(job, batch)) for batch in batches}}


def _cancel(place: Place) -> dict[str, object]:
    try:
        folder = place.open()
    except FileNotFoundError:
        return {"claim": None}
    try:
        holder = read_claim(folder, place)
        alive = is_alive(folder, holder.native_id) if holder is not None else None
        signalled = holder is not None and alive is True and _signal(holder)
        try:
            with contextlib.suppress(FileExistsError):
                write_new(folder, STOP, b"")
        except OSError:
            if not signalled:
                raise  # neither way of telling it worked
        return {"claim": claim_record(holder), "alive": alive, "signalled": signalled}
    finally:
        os.close(folder)


def _signal(holder: claims.Claim) -> bool:
    if holder.host != socket.gethostname() or holder.boot_id != boot_id():
        return False
    return signal_process(holder.pid, holder.start_time, signal.SIGTERM)
