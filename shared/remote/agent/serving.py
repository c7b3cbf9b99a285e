"""The loop: frames in, a thread per request, frames out, until the other side closes the pipe."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback

from shared.remote.agent import frames
from shared.remote.agent.errors import RequestError, invalid
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.hanging import PATIENCE_SECONDS, Hanging, does_not_answer
from shared.remote.agent.verbs.table import Agent
from shared.remote.common.durable import write_all

MOST_REQUESTS = 128
FAREWELL_SECONDS = 5.0
LOOK_SECONDS = 1.0


class Server:
    """Serves one pipe."""

    def __init__(self, agent: Agent, hanging: Hanging, incoming: int, outgoing: int) -> None:
        self._agent = agent
        self._hanging = hanging
        self._incoming = incoming
        self._outgoing = outgoing
        self._writing = threading.Lock()
        self._registered = threading.Lock()
        self._exchanges: dict[int, tuple[Exchange, threading.Thread]] = {}

    def run(self) -> None:
        """Greet, then serve until the end of the file; what is under way is given up and cleans up after itself."""
        # An empty line first: what a login shell printed before may not have ended with one.
        self._write(b"\nSTOKER-AGENT 1 " + os.urandom(8).hex().encode() + b"\n")
        threading.Thread(target=self._watch_over, daemon=True).start()
        try:
            for kind, request, payload in frames.read_frames(self._incoming):
                self._take(kind, request, payload)
        finally:
            self._give_up()

    def _take(self, kind: int, request: int, payload: bytes) -> None:
        if kind == frames.REQUEST:
            self._begin(request, payload)
            return
        with self._registered:
            entry = self._exchanges.get(request)
        if entry is None:
            return  # it ended while this was on its way
        exchange = entry[0]
        if kind == frames.DATA:
            exchange.on_data(payload)
        elif kind == frames.GRANT:
            exchange.on_credit(frames.CREDIT.unpack(payload)[0])
        elif kind == frames.END:
            exchange.on_end()
        elif kind == frames.ABORT:
            exchange.on_abort()
        else:
            raise frames.ProtocolError(f"a frame of kind {kind} from the client")

    def _begin(self, request: int, payload: bytes) -> None:
        exchange = Exchange(request, self._write)
        with self._registered:
            if request in self._exchanges:
                raise frames.ProtocolError(f"request {request} is under way already")
            if len(self._exchanges) >= MOST_REQUESTS:
                exchange.fail(RequestError("unavailable", f"{MOST_REQUESTS} requests are under way already"))
                return
            thread = threading.Thread(target=self._serve, args=(exchange, payload), daemon=True)
            self._exchanges[request] = (exchange, thread)
        thread.start()

    def _serve(self, exchange: Exchange, payload: bytes) -> None:
        try:
            self._agent.answer(_decode(payload), exchange)
        except RequestError as error:
            self._fail(exchange, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            traceback.print_exc()
            self._fail(exchange, RequestError("internal", f"the agent failed: {error!r}"))
        finally:
            self._hanging.discard(exchange)
            with self._registered:
                del self._exchanges[exchange.request]

    def _watch_over(self) -> None:
        """Answer for requests whose threads do not come back from the kernel; each goes on to cost its place."""
        while True:
            time.sleep(LOOK_SECONDS)
            with self._registered:
                exchanges = [exchange for exchange, _ in self._exchanges.values()]
            for exchange in exchanges:
                if not exchange.given_up and exchange.has_stood_still(PATIENCE_SECONDS):
                    self._give_up_on(exchange)

    def _give_up_on(self, exchange: Exchange) -> None:
        if exchange.place is not None:
            self._hanging.add(exchange, exchange.place)
        try:
            given_up = exchange.give_up(does_not_answer(exchange.place))
        except OSError:
            return  # nobody is there any more
        if not given_up:
            self._hanging.discard(exchange)

    def _fail(self, exchange: Exchange, error: RequestError) -> None:
        try:
            exchange.fail(error)
        except (OSError, RequestError):
            return  # nobody is there any more, or it was answered for this thread

    def _write(self, data: bytes) -> None:
        with self._writing:
            write_all(self._outgoing, data)

    def _give_up(self) -> None:
        with self._registered:
            under_way = list(self._exchanges.values())
        for exchange, _ in under_way:
            exchange.on_abort()
        deadline = time.monotonic() + FAREWELL_SECONDS
        for _, thread in under_way:
            thread.join(max(0.0, deadline - time.monotonic()))
        sys.stderr.flush()


def _decode(payload: bytes) -> dict[str, object]:
    try:
        request = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the request is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise invalid("the request is not an object")
    return request
