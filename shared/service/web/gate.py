"""What every request passes first, in front of the router: request id, access key, metrics, one line in the log.

Raw ASGI, because it is paid for by every request; in front of the router, because a path that does not exist also
answers 401 without a key.
"""

import time
from collections.abc import MutableMapping
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from shared.service.logs import get_logger
from shared.service.web.access.callers import STATE_KEY, KeyVerifier, presented_key
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
        self, app: ASGIApp, verifier: KeyVerifier, metrics: Metrics, allowed_methods: AllowedMethods
    ) -> None:
        self._app = app
        self._allowed_methods = allowed_methods
        self._verifier = verifier
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == ScopeType.WEBSOCKET:
            raise RuntimeError("only HTTP is served here")
        started = time.perf_counter()
        headers = _headers(scope)
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
        try:
            if scope["path"] in OPEN_PATHS:
                await self._app(scope, receive, answer)
            elif (caller := await self._authenticated(scope, headers["authorization"], answer)) is not None:
                scope["state"][STATE_KEY] = scope["user"] = caller
                allowed = self._allowed_methods.of(scope["path"]) if scope["method"] == "OPTIONS" else None
                if allowed is not None:
                    await send_allowed(answer, allowed)
                else:
                    await self._app(scope, receive, answer)
        finally:
            self._record(scope, status, time.perf_counter() - started, caller)
            current_request_id.reset(token)

    async def _authenticated(self, scope: Scope, authorization: Any, send: Any) -> Caller | None:
        key = presented_key(authorization) if authorization else None
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


async def _send_problem(send: Any, slug: str, detail: str, scope: Scope, header: tuple[str, str]) -> None:
    status, body = problem(slug, detail, instance=scope["path"])
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (header[0].encode(), header[1].encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
