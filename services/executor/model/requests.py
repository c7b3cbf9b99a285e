"""Calls that make something, and what makes a repeated call the same call."""

import hashlib

import msgspec

from stoker.contracts.keys import Caller
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. A call is the same as an earlier one when access key, idempotency key and body are."""

    caller: Caller
    body_sha256: str
    idempotency_key: str | None = None

    def check_same_body(self, body_sha256: str | None, made: str) -> None:
        """Raise Invalid (`idempotency-key-reused`) where the key made something of another body; `made` says what."""
        if body_sha256 != self.body_sha256:
            raise Invalid(
                "The idempotency key was used for another request",
                [FieldError("Idempotency-Key", f"made {made} of another body; use a new key for a new one")],
                slug="idempotency-key-reused",
            )


def sha256_of(body: bytes) -> str:
    """What tells bodies apart."""
    return hashlib.sha256(body).hexdigest()
