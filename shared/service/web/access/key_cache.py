"""Believing a verified key for a short, stated time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from shared.service.web.access.callers import key_sha256, well_formed
from stoker.contracts.keys import Caller
from stoker.errors import Unavailable

CAPACITY = 10_000
UNKNOWN_SECONDS = 5.0
RETRY_SECONDS = 5.0
_LEAST_SECONDS = 0.25


class _Entry(NamedTuple):
    caller: Caller | None
    checked_at: float
    ask_again_at: float
    asked_at: float


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
        self._asking: dict[str, asyncio.Future[_Entry]] = {}

    async def verify(self, key: str) -> Caller | None:
        """Return the caller, or None. Raises Unavailable when nobody can tell."""
        if not well_formed(key):
            return None
        digest = key_sha256(key)
        entry = self._entries.get(digest)
        if entry is None or time.monotonic() >= entry.ask_again_at:
            entry = await self._ask(digest, entry)
        return _unless_expired(entry.caller)

    @property
    def look_again_seconds(self) -> float:
        """Half of the time for which a key is believed: in its other half an answer that is older is noticed."""
        return max(_LEAST_SECONDS, self._seconds / 2)

    async def still_valid(self, key: str) -> bool:
        """Whether it is, by what was heard within `look_again_seconds`. Raises Unavailable when nobody can tell."""
        digest = key_sha256(key)
        entry = self._entries.get(digest)
        now = time.monotonic()
        # Where nobody answers, the pause between two questions is kept here, too.
        if entry is None or now >= min(entry.ask_again_at, entry.asked_at + self.look_again_seconds):
            entry = await self._ask(digest, entry)
        return _unless_expired(entry.caller) is not None

    def forget(self) -> None:
        """Ask again for every key: one was changed or revoked."""
        self._entries.clear()
        # Nor is what was asked before this an answer.
        self._asking = {}

    async def _ask(self, digest: str, known: _Entry | None) -> _Entry:
        """Ask once, however many want to know."""
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.ensure_future(self._asked(digest, known))
            asking.add_done_callback(partial(self._heard, digest))
        return await asyncio.shield(asking)

    def _heard(self, digest: str, asking: asyncio.Future[_Entry]) -> None:
        is_current = self._asking.get(digest) is asking
        if is_current:
            del self._asking[digest]
        # Whoever waited may have gone: an error is nobody's then.
        if not asking.cancelled() and asking.exception() is None and is_current:
            self._entries[digest] = asking.result()
            if len(self._entries) > CAPACITY:
                self._entries.popitem(last=False)

    async def _asked(self, digest: str, known: _Entry | None) -> _Entry:
        now = time.monotonic()
        try:
            caller = await self._look_up(digest)
        except Unavailable:
            if known is None or known.caller is None or now >= known.checked_at + self._unavailable_seconds:
                raise
            return known._replace(ask_again_at=now + RETRY_SECONDS, asked_at=now)
        seconds = UNKNOWN_SECONDS if caller is None else self._seconds
        return _Entry(caller, now, now + seconds, now)


def _unless_expired(caller: Caller | None) -> Caller | None:
    expires_at = None if caller is None else caller.expires_at
    return None if expires_at is not None and expires_at <= datetime.now(UTC) else caller
