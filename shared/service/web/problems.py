"""Every error answer is a problem (RFC 9457): one table of types, one converter.

Below controllers nobody knows HTTP: services raise the tree of `stoker.errors`, and it becomes an answer here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from shared.service.logs import get_logger
from stoker.contracts.problems import FieldError, Problem
from stoker.errors import Conflict, Forbidden, Invalid, NotFound, StokerError, Unavailable
from stoker.request_ids import current_request_id

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:stoker:problem:"

PROBLEMS: Mapping[str, tuple[int, str]] = {
    "bad-request": (400, "The request is not well-formed"),
    "malformed-body": (400, "The body is not well-formed"),
    "unauthorized": (401, "A valid access key is needed"),
    "forbidden": (403, "The access key does not allow this"),
    "cross-site-request": (403, "Requests that other sites make a browser send are refused"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "request-timeout": (408, "The request took too long to arrive"),
    "conflict": (409, "The present state does not allow this"),
    "in-use": (409, "It is in use"),
    "duplicate-name": (409, "The name is taken"),
    "submissions-prevented": (409, "The resource takes no new jobs"),
    "precondition-failed": (412, "It was changed meanwhile"),
    "payload-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The content type is not supported"),
    "invalid-request": (422, "The request is not valid"),
    "idempotency-key-reused": (422, "The idempotency key was used for another request"),
    "precondition-required": (428, "A precondition is needed"),
    "headers-too-large": (431, "The headers are too large"),
    "internal": (500, "Something went wrong here"),
    "unavailable": (503, "Something that is needed does not answer"),
}
_SLUG_OF_STATUS = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "payload-too-large",
    415: "unsupported-media-type",
    422: "invalid-request",
    503: "unavailable",
}

log = get_logger()
_encode = msgspec.json.Encoder().encode


class Refused(Exception):  # noqa: N818 - not an error of this program
    """What only the HTTP border can say (403, 412, 415 …); `slug` is one of PROBLEMS."""

    def __init__(self, slug: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})


def problem(
    slug: str, detail: str = "", *, instance: str = "", errors: Iterable[FieldError] = ()
) -> tuple[int, bytes]:
    """Return the status and the body of a problem; a slug that the table lacks is a conflict of its own kind."""
    status, title = PROBLEMS.get(slug, PROBLEMS["conflict"])
    body = Problem(
        type=TYPE_PREFIX + slug,
        title=title,
        status=status,
        detail=detail,
        instance=instance,
        errors=list(errors),
        request_id=current_request_id.get() or "",
    )
    return status, _encode(body)


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Turn any exception into a problem; what nobody foresaw is logged with its traceback and told as `internal`."""
    slug, detail, errors, headers = _described(error)
    status, body = problem(slug, detail, instance=request.scope["path"], errors=errors)
    if slug == "internal":
        log.error("request failed", method=request.method, path=request.scope["path"], exc_info=error)
    elif slug == "unavailable":
        log.warning("not available", detail=detail, cause=repr(error.__cause__ or error))
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _described(  # noqa: PLR0911 - a table reads best as one
    error: Exception,
) -> tuple[str, str, Iterable[FieldError], dict[str, str]]:
    match error:
        case Refused():
            return error.slug, error.detail, (), error.headers
        case Invalid():
            return error.slug, error.message, error.errors, {}
        case Forbidden():
            return "forbidden", error.message, (), {}
        case NotFound():
            return "not-found", error.message, (), {}
        case Conflict():
            return error.slug, error.message, error.errors, {}
        case Unavailable():
            seconds = max(1, round(error.retry_after_seconds or 1))
            return "unavailable", error.message, (), {"Retry-After": str(seconds)}
        case ValidationException():
            return "invalid-request", "parameters are not valid", list(_parameter_errors(error)), {}
        case HTTPException() if error.status_code in _SLUG_OF_STATUS:
            slug = _SLUG_OF_STATUS[error.status_code]
            allowed = (error.headers or {}).get("allow")
            headers = {"Allow": allowed} if allowed else {}
            return slug, "" if slug in {"not-found", "method-not-allowed"} else error.detail, (), headers
        case StokerError():
            return "internal", "", (), {}
        case _:
            return "internal", "details are in the log, under this request id", (), {}


def _parameter_errors(error: ValidationException) -> Iterable[FieldError]:
    for item in error.extra if isinstance(error.extra, list) else []:
        if isinstance(item, dict):
            source = item.get("source", "query")
            path = f"{getattr(source, 'value', source)}.{item.get('key', '')}".rstrip(".")
            yield FieldError(path, str(item.get("message", "")))
