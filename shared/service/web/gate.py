"""What every request passes first, in front of the router: request id, access key, metrics, one line in the log.

Raw ASGI, because it is paid for by every request; in front of the router, because a path that does not exist also
answers 401 without a key.
"""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from shared.service.logs import get_logger
from shared.service.web.access.callers import STATE_KEY, KeyVerifier, presented_key
from shared.service.web.access.origins import why_foreign
from shared.service.web.access.watch import KeyWatch
from shared.service.web.bodies.receiving import BodyRoom, Receiving
from shared.service.web.metrics import Metrics
from shared.service.web.options import AllowedMethods, send_allowed
from shared.service.web.problems import MEDIA_TYPE, problem
from stoker.contracts.keys import Caller
from stoker.errors import Unavailable
from stoker.request_ids import REQUEST_ID_HEADER, accepted_request_id, current_request_id, new_request_id

OPEN_PATHS = frozenset({"/health/live", "/health/ready"})
# Asked for every few seconds by machines: their lines would drown the others.
QUIET_PATHS = OPEN_PATHS | {"/metrics"}
UNMATCHED = "(none)"
# Methods are text from outside, and labels of a metric must be few.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
log = get_logger()


class Gate:
    """Wraps the router of one application."""

    def __init__(
        self,
        app: ASGIApp,
        verifier: KeyVerifier,
        metrics: Metrics,
        allowed_methods: AllowedMethods,
        body_room: BodyRoom,
    ) -> None:
        self._app = app
        self._allowed_methods = allowed_methods
        self._verifier = verifier
        self._metrics = metrics
        self._body_room = body_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == ScopeType.WEBSOCKET:
            raise RuntimeError("only HTTP is served here")
        started = time.perf_counter()
        headers = _headers(scope)
        body = Receiving(receive, self._body_room)
        request_id = accepted_request_id(headers["id"]) or new_request_id()
        encoded_id = request_id.encode()
        status = 500
        token = current_request_id.set(request_id)

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (_ID_HEADER, encoded_id)]
            await send(message)

        caller: Caller | None = None
        key = presented_key(headers["authorization"]) if headers["authorization"] else None
        try:
            if scope["path"] in OPEN_PATHS:
                await self._app(scope, body, answer)
            elif (why := why_foreign(scope["method"], scope["path"], scope["headers"])) is not None:
                await _send_problem(answer, "cross-site-request", why, scope)
            elif (caller := await self._authenticated(scope, key, answer)) is not None:
                scope["state"][STATE_KEY] = scope["user"] = caller
                allowed = self._allowed_methods.of(scope["path"]) if scope["method"] == "OPTIONS" else None
                if allowed is not None:
                    await send_allowed(answer, allowed)
                else:
                    await self._while_valid(key or "", scope, body, answer)
        finally:
            body.done()
            self._record(scope, status, time.perf_counter() - started, caller)
            current_request_id.reset(token)

    async def _while_valid(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request; end the answer in its middle when the key is revoked."""
        begun = False

        async def answer(message: Any) -> None:
            nonlocal begun
            await send(message)
            begun = message.get("more_body", True)

        def end() -> bool:
            if begun:
                limit.reschedule(asyncio.get_running_loop().time())
            return begun

        watch = KeyWatch(self._verifier, key, end)
        try:
            async with asyncio.timeout(None) as limit:
                await self._app(scope, receive, answer)
        except TimeoutError:
            if not limit.expired():
                raise
            log.info("an answer was ended: its key is not valid any more", path=scope["path"])
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watch.stop()

    async def _authenticated(self, scope: Scope, key: str | None, send: Any) -> Caller | None:
        try:
            caller = await self._verifier.verify(key) if key else None
        except Unavailable as error:
            log.warning("a key could not be verified", detail=error.message)
            await _send_problem(send, "unavailable", error.message, scope, ("retry-after", "1"))
            return None
        if caller is None:
            detail = "this access key is not valid" if key else "send Authorization: Bearer KEY"
            # A browser asks for a password only when it is offered Basic; programs are told Bearer.
            scheme = "Basic" if scope["path"].startswith("/schema") else "Bearer"
            challenge = ("www-authenticate", f'{scheme} realm="stoker"')
            await _send_problem(send, "unauthorized", detail, scope, challenge)
        return caller

    def _record(self, scope: HTTPScope, status: int, seconds: float, caller: Caller | None) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = scope.get("path_template") or UNMATCHED
        self._metrics.request(method=method, route=route, status=status, seconds=seconds)
        write = log.debug if scope["path"] in QUIET_PATHS else log.info
        write(
            "request",
            method=method,
            route=route,
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 2),
            key_id=caller.key_id if caller else None,
        )


def _headers(scope: Scope) -> MutableMapping[str, Any]:
    found: dict[str, Any] = {"id": None, "authorization": b""}
    for name, value in scope["headers"]:
        if name == b"authorization":
            found["authorization"] = value
        elif name == _ID_HEADER:
            found["id"] = value.decode("latin-1")
    return found


async def _send_problem(send: Any, slug: str, detail: str, scope: Scope, *more: tuple[str, str]) -> None:
    status, body = problem(slug, detail, instance=scope["path"])
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in more),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
