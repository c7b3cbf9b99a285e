"""Verifying keys by asking the registry (executor and poller)."""

from typing import Protocol

from shared.service.web.access.key_cache import KeyCache
from stoker.contracts.keys import Caller


class VerifiesKeys(Protocol):
    """As much of the registry's client as is needed here."""

    async def verify_key(self, key_sha256: str) -> Caller | None:
        """Return whose key has this SHA-256, or None. Raises Unavailable."""


class RemoteKeyVerifier(KeyCache):
    """A KeyVerifier that asks the registry, and believes its answer for the times in the settings."""

    def __init__(self, registry: VerifiesKeys, *, seconds: float = 60.0, unavailable_seconds: float = 600.0) -> None:
        super().__init__(registry.verify_key, seconds=seconds, unavailable_seconds=unavailable_seconds)
