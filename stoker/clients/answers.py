"""From an answer's status and problem details to this project's errors."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from httpx import codes

from stoker.contracts.problems import Problem
from stoker.errors import Conflict, Forbidden, Invalid, NotFound, StokerError, Unauthorized, Unavailable
from stoker.request_ids import REQUEST_ID_HEADER

TYPE_PREFIX = "urn:stoker:problem:"

_decoder = msgspec.json.Decoder(Problem)


def raise_for_problem(service: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
    """Return when the answer is a good one, else raise what it says."""
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    raise _error(service, status, headers, _problem(status, content))


def _problem(status: int, content: bytes) -> Problem:
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a proxy's page, for instance
        return Problem(type="about:blank", title=codes.get_reason_phrase(status) or "no reason given", status=status)


def _error(  # noqa: PLR0911 - a table reads best as one
    service: str, status: int, headers: Mapping[str, str], problem: Problem
) -> StokerError:
    message = problem.detail or problem.title
    slug = problem.type.removeprefix(TYPE_PREFIX)
    match status:
        case 401:
            return Unauthorized(f"the {service} refuses the access key: {message}")
        case 403:
            return Forbidden(message)
        case 404 | 410:
            return NotFound(message)
        case 409 | 412:
            return Conflict(message, slug=slug, errors=problem.errors)
        case 408 | 429 | 502 | 503 | 504:
            return Unavailable(f"the {service}: {message}", retry_after_seconds=_retry_after(headers))
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            request_id = problem.request_id or headers.get(REQUEST_ID_HEADER, "unknown")
            return Unavailable(f"the {service} failed with {status} ({message}; request id {request_id})")
        case _ if status < HTTPStatus.BAD_REQUEST:
            return Invalid(f"the address leads elsewhere: {status} {headers.get('location', '')}".rstrip())
        case _:
            return Invalid(message, problem.errors, slug=slug)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None  # the date form is not used by our services
