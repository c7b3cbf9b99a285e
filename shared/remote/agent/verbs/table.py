"""The verbs: from a request's fields to what is done. All are safe to repeat."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable

from shared.remote.agent.arguments import count, records, strings, text, texts
from shared.remote.agent.commands import find_slurm
from shared.remote.agent.environment import Identity
from shared.remote.agent.errors import RequestError, from_os, invalid
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.hanging import Hanging
from shared.remote.agent.places import Place, Roots
from shared.remote.agent.verbs import (
    ending,
    evidence,
    following,
    launching,
    reading,
    removing,
    scheduler,
    staging,
    submitting,
)
from shared.remote.common.platforms import libc, machine
from shared.remote.common.processes import boot_id

PROTOCOL = 1
VERSION = "1"


class Agent:
    """Answers requests; the first one has to be `hello`, which names the roots."""

    def __init__(self, identity: Identity, hanging: Hanging) -> None:
        self._identity = identity
        self._hanging = hanging
        self._roots: Roots | None = None

    def answer(self, request: dict[str, object], exchange: Exchange) -> None:
        """Do what the request asks and send its frames; RequestError for what cannot be done."""
        verb = text(request, "verb")
        if verb == "hello":
            exchange.answer(self._hello(request))
            return
        if self._roots is None:
            raise invalid("the first request has to be hello", "verb")
        if verb == "follow":
            following.follow(self._roots, records(request, "targets"), exchange, self._hanging)
            return
        if verb in scheduler.QUERIES:
            scheduler.query(verb, request, exchange)
            return
        if verb == "cluster":
            scheduler.cluster(self._identity.user, request, exchange)
            return
        if verb == "scancel":
            scheduler.scancel(request, exchange)
            return
        run = _VERBS.get(verb)
        if run is None:
            raise invalid(f"there is no verb {verb!r}", "verb")
        place = exchange.place = self._roots.place(request)
        self._hanging.refuse(place)
        try:
            run(self._identity, place, request, exchange)
        except OSError as error:
            raise from_os(error, place.shown) from error

    def _hello(self, request: dict[str, object]) -> dict[str, object]:
        protocols, roots = request.get("protocols"), request.get("roots")
        if not isinstance(protocols, list) or PROTOCOL not in protocols:
            raise RequestError("invalid", f"this agent speaks protocol {PROTOCOL} only", code="PROTOCOL")
        if not isinstance(roots, dict):
            raise invalid("roots has to be an object", "roots")
        made = Roots(roots, self._identity.home)
        if self._roots is not None and self._roots.paths != made.paths:
            raise RequestError("refused", "the roots of a pipe cannot change", field="roots")
        self._roots = made
        find_slurm(texts(request, "slurm"))
        return {
            "protocol": PROTOCOL,
            "version": VERSION,
            "user": self._identity.user,
            "uid": self._identity.uid,
            "home": self._identity.home,
            "host": socket.gethostname(),
            "boot_id": boot_id(),
            "machine": machine(),
            "libc": libc(),
            "python": "{}.{}.{}".format(*sys.version_info[:3]),
            "pid": os.getpid(),
            "clock": time.time(),
            "roots": made.paths,
        }


def _stage(_identity: Identity, place: Place, _: dict[str, object], exchange: Exchange) -> None:
    exchange.answer(staging.stage(place, exchange))


def _launch(identity: Identity, place: Place, request: dict[str, object], exchange: Exchange) -> None:
    exchange.answer(
        launching.launch(place, strings(request, "batches"), text(request, "kind"), identity.umask, exchange)
    )


def _submit(identity: Identity, place: Place, request: dict[str, object], exchange: Exchange) -> None:
    answer = submitting.submit(
        place,
        marker=text(request, "marker"),
        script=text(request, "script"),
        arguments=strings(request, "arguments"),
        umask=identity.umask,
        wait_seconds=count(request, "wait_seconds", submitting.WAIT_SECONDS),
        exchange=exchange,
    )
    exchange.answer(answer)


def _find(_identity: Identity, place: Place, request: dict[str, object], exchange: Exchange) -> None:
    exchange.answer(evidence.find(place, strings(request, "batches"), texts(request, "native_ids"), exchange))


def _revoke(_identity: Identity, place: Place, request: dict[str, object], exchange: Exchange) -> None:
    exchange.answer(ending.revoke(place, strings(request, "batches"), exchange))


def _cancel(_identity: Identity, place: Place, request: dict[str, object], exchange: Exchange) -> None:
    exchange.answer(ending.cancel(place, strings(request, "batches"), exchange))


def _read(_identity: Identity, place: Place, request: dict[str, object], exchange: Exchange) -> None:
    limit = None if request.get("limit") is None else count(request, "limit")
    reading.read(place, count(request, "offset", 0), limit, exchange)


def _fetch(_identity: Identity, place: Place, request: dict[str, object], exchange: Exchange) -> None:
    reading.fetch(place, strings(request, "exclude"), exchange)


def _remove(_identity: Identity, place: Place, _: dict[str, object], exchange: Exchange) -> None:
    exchange.answer(removing.remove(place, exchange))


def _measure(_identity: Identity, place: Place, _: dict[str, object], exchange: Exchange) -> None:
    exchange.answer(removing.measure(place, exchange))


_VERBS: dict[str, Callable[[Identity, Place, dict[str, object], Exchange], None]] = {
    "stage": _stage,
    "launch": _launch,
    "submit": _submit,
    "find": _find,
    "revoke": _revoke,
    "cancel": _cancel,
    "read": _read,
    "fetch": _fetch,
    "remove": _remove,
    "measure": _measure,
}
"""What names one place; `hello`, `follow` and what asks the scheduler do not."""
