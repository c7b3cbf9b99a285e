"""Who is calling: access keys in requests, and what a caller may do."""

import base64
import binascii
import hashlib
import re
from typing import Any, Protocol

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from shared.service.web.problems import Refused
from stoker.contracts.keys import Caller

_FORM = re.compile(r"stk_[0-9a-z]{26}_[A-Za-z0-9_-]{43}\Z")
STATE_KEY = "stoker_caller"


class KeyVerifier(Protocol):
    """Tells whose key this is."""

    async def verify(self, key: str) -> Caller | None:
        """Return the caller, or None for a key that is not valid (any more). Raises Unavailable."""

    @property
    def look_again_seconds(self) -> float:
        """How often to ask whether a key is `still_valid`, for answers without an end."""

    async def still_valid(self, key: str) -> bool:
        """Whether it is, by what was heard within `look_again_seconds`. Raises Unavailable."""


def well_formed(key: str) -> bool:
    """Say whether it could be a key: `stk_<ulid>_<43 characters>`."""
    return _FORM.match(key) is not None


def key_sha256(key: str) -> str:
    """Return what is stored and looked up instead of the key: the SHA-256 of all of it, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def presented_key(authorization: bytes) -> str | None:
    """Return the key in an Authorization header: `Bearer KEY`, or Basic with the key as the password."""
    scheme, _, value = authorization.partition(b" ")
    scheme = scheme.lower()
    try:
        if scheme == b"bearer":
            return value.strip().decode("ascii")
        if scheme == b"basic":
            return base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None
    return None


def provide_caller(scope: Scope) -> Caller:
    """Return the caller of this request (the dependency `caller`)."""
    caller: Caller = scope["state"][STATE_KEY]
    return caller


async def admins_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: refuse (403) who is not an administrator."""
    _require(connection, {"admin"})


async def services_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: refuse (403) who is neither one of our services nor an administrator."""
    _require(connection, {"admin", "service"})


def _require(connection: ASGIConnection[Any, Any, Any, Any], roles: set[str]) -> None:
    caller = provide_caller(connection.scope)
    if caller.role not in roles:
        raise Refused("forbidden", f"this needs a key with role {' or '.join(sorted(roles))}")
