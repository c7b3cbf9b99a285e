"""Requests with a body say that it is JSON."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.service.web.problems import Refused

REQUEST_BODY = "request_body"
_ACCEPTED = ("application/json", "application/merge-patch+json")


def accepts(body_type: object) -> dict[str, Any]:
    """Return the `opt` of a handler that decodes `body: bytes` as this type: checked (415) and documented."""
    return {REQUEST_BODY: body_type}


async def json_bodies(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: refuse (415) a body of another type where JSON is expected.

    Asynchronous like all guards here: Litestar runs others in a thread, which costs more than all of the gate.
    """
    if REQUEST_BODY not in handler.opt:
        return
    sent = connection.headers.get("content-type", "")
    if sent.partition(";")[0].strip().lower() not in _ACCEPTED:
        raise Refused("unsupported-media-type", "send the body as Content-Type: application/json")
