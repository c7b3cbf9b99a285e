"""The id of the request that is being answered, so that calls to other services carry it on."""

import re
import secrets
from contextvars import ContextVar

REQUEST_ID_HEADER = "X-Request-ID"

current_request_id: ContextVar[str | None] = ContextVar("stoker_request_id", default=None)
"""Set by the web layer for the time of one request; read by the clients and the logs."""

_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_request_id() -> str:
    """An id for a request that came without one."""
    return secrets.token_hex(10)


def accepted_request_id(text: str | None) -> str | None:
    """`text` if it may be used as a request id (1 to 64 of `A-Za-z0-9._-`), else None."""
    return text if text is not None and _ACCEPTED.fullmatch(text) else None
