"""Believing a verified key for a short, stated time."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from shared.service.web.access.callers import key_sha256, well_formed
from stoker.contracts.keys import Caller
from stoker.errors import Unavailable

CAPACITY = 10_000
UNKNOWN_SECONDS = 5.0
RETRY_SECONDS = 5.0


class _Entry(NamedTuple):
    caller: Caller | None
    checked_at: float
    ask_again_at: float


class KeyCache:
    """A KeyVerifier over a look-up by SHA-256.

    A known key is believed for `seconds` and, while the look-up raises Unavailable, for `unavailable_seconds` after
    it was last confirmed; an unknown one for 5 s. A key's expiry is looked at each time.
    """

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Caller | None]],
        *,
        seconds: float,
        unavailable_seconds: float,
    ) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._unavailable_seconds = unavailable_seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def verify(self, key: str) -> Caller | None:
        """Return the caller, or None. Raises Unavailable when nobody can tell."""
        if not well_formed(key):
            return None
        digest = key_sha256(key)
        entry = self._entries.get(digest)
        if entry is None or time.monotonic() >= entry.ask_again_at:
            entry = await self._ask(digest, entry)
        caller = entry.caller
        if caller is not None and caller.expires_at is not None and caller.expires_at <= datetime.now(UTC):
            return None
        return caller

    def forget(self) -> None:
        """Ask again for every key: one was changed or revoked."""
        self._entries.clear()

    async def _ask(self, digest: str, known: _Entry | None) -> _Entry:
        now = time.monotonic()
        try:
            caller = await self._look_up(digest)
        except Unavailable:
            if known is None or known.caller is None or now >= known.checked_at + self._unavailable_seconds:
                raise
            entry = known._replace(ask_again_at=now + RETRY_SECONDS)
        else:
            seconds = UNKNOWN_SECONDS if caller is None else self._seconds
            entry = _Entry(caller, now, now + seconds)
        self._entries[digest] = entry
        if len(self._entries) > CAPACITY:
            self._entries.popitem(last=False)
        return entry
