"""The verbs: from a request's fields to what is done. All are safe to repeat."""

from __future__ import annotations

import os
import socket
import sys
import time

from shared.agent import ending, evidence, following, launching, reading, removing, staging
from shared.agent.arguments import count, records, strings, text
from shared.agent.environment import Identity
from shared.agent.errors import RequestError, from_os, invalid
from shared.agent.exchange import Exchange
from shared.agent.places import Roots
from shared.resource_side.processes import boot_id

PROTOCOL = 1
VERSION = "1"


class Agent:
    """Answers requests; the first one has to be `hello`, which names the roots."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
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
            following.follow(self._roots, records(request, "targets"), exchange)
            return
        place = self._roots.place(request)
        try:
            if verb == "read":
                limit = None if request.get("limit") is None else count(request, "limit")
                reading.read(place, count(request, "offset", 0), limit, exchange)
            elif verb == "fetch":
                reading.fetch(place, strings(request, "exclude"), exchange)
            elif verb == "stage":
                exchange.answer(staging.stage(place, exchange))
            elif verb == "launch":
                exchange.answer(launching.launch(place, strings(request, "batches"), text(request, "kind")))
            elif verb == "find":
                exchange.answer(evidence.find(place, strings(request, "batches")))
            elif verb == "revoke":
                exchange.answer(ending.revoke(place, strings(request, "batches")))
            elif verb == "cancel":
                exchange.answer(ending.cancel(place, strings(request, "batches")))
            elif verb == "remove":
                exchange.answer(removing.remove(place))
            elif verb == "measure":
                exchange.answer(removing.measure(place))
            elif verb in ("queue", "account"):
                raise invalid("this agent has no SLURM", "verb")
            else:
                raise invalid(f"there is no verb {verb!r}", "verb")
        except OSError as error:
            raise from_os(error, place.shown) from error

    def _hello(self, request: dict[str, object]) -> dict[str, object]:
        protocols, roots = request.get("protocols"), request.get("roots")
        if not isinstance(protocols, list) or PROTOCOL not in protocols:
            raise invalid(f"this agent speaks protocol {PROTOCOL} only", "protocols")
        if not isinstance(roots, dict):
            raise invalid("roots has to be an object", "roots")
        made = Roots(roots, self._identity.home)
        if self._roots is not None and self._roots.paths != made.paths:
            raise RequestError("refused", "the roots of a pipe cannot change", field="roots")
        self._roots = made
        return {
            "protocol": PROTOCOL,
            "version": VERSION,
            "user": self._identity.user,
            "uid": self._identity.uid,
            "home": self._identity.home,
            "host": socket.gethostname(),
            "boot_id": boot_id(),
            "python": "{}.{}.{}".format(*sys.version_info[:3]),
            "pid": os.getpid(),
            "clock": time.time(),
            "roots": made.paths,
        }
