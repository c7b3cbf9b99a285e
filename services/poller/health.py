"""How each profile's connection is doing, and since when."""

import time
from collections.abc import Callable

import msgspec

from shared.service.logs import get_logger
from stoker.contracts.watches import ResourceHealth

FORGET_AFTER_SECONDS = 3600.0
"""How long a profile that is no longer watched is still reported."""

log = get_logger()


class HealthBook:
    """One entry per profile; `clock` is epoch seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: dict[str, ResourceHealth] = {}
        self._unwatched_since: dict[str, float] = {}
        self._batch_counts: dict[str, int] = {}
        self._schedulers: dict[str, tuple[str | None, float]] = {}

    def of(self, profile_id: str) -> ResourceHealth | None:
        """Return the entry of one profile."""
        return self._entries.get(profile_id)

    def all(self) -> list[ResourceHealth]:
        """Return the entries of what is watched, or was until a while ago."""
        limit = self._clock() - FORGET_AFTER_SECONDS
        for profile_id in [name for name, since in self._unwatched_since.items() if since < limit]:
            del self._unwatched_since[profile_id]
            self._entries.pop(profile_id, None)
            self._batch_counts.pop(profile_id, None)
            self._schedulers.pop(profile_id, None)
        return [self._entries[profile_id] for profile_id in sorted(self._entries)]

    def looked(self, profile_id: str, resource_id: str) -> bool:
        """Note that it answers; say whether that is news."""
        return self._note(profile_id, resource_id, None)

    def failed(self, profile_id: str, resource_id: str, error: str) -> bool:
        """Note that it does not answer, and why; say whether that is news."""
        return self._note(profile_id, resource_id, error)

    def scheduler(self, profile_id: str, error: str | None) -> bool:
        """Note that the scheduler of its resource answers (`error` None) or why not; say whether that is news."""
        now = self._clock()
        known = self._schedulers.get(profile_id)
        changed = known is None or (known[0] is None) != (error is None)
        since = now if known is None or changed else known[1]
        self._schedulers[profile_id] = (error, since)
        if (entry := self._entries.get(profile_id)) is not None:
            self._entries[profile_id] = msgspec.structs.replace(entry, scheduler_error=error, scheduler_since=since)
        if changed and (known is not None or error is not None):
            write = log.info if error is None else log.warning
            write(
                "the scheduler answers" if error is None else "the scheduler does not answer",
                profile_id=profile_id,
                error=error,
            )
        return changed

    def watches(self, profile_id: str, batch_count: int) -> None:
        """Note how many batches are watched through it, also before the first look."""
        self._batch_counts[profile_id] = batch_count
        if batch_count:
            self._unwatched_since.pop(profile_id, None)
        else:
            self._unwatched_since.setdefault(profile_id, self._clock())
        if (entry := self._entries.get(profile_id)) is not None:
            self._entries[profile_id] = msgspec.structs.replace(entry, watched_batches=batch_count)

    def _note(self, profile_id: str, resource_id: str, error: str | None) -> bool:
        now = self._clock()
        known = self._entries.get(profile_id)
        reachable = error is None
        changed = known is None or known.reachable != reachable
        scheduler_error, scheduler_since = self._schedulers.get(profile_id, (None, None))
        self._entries[profile_id] = ResourceHealth(
            profile_id=profile_id,
            resource_id=resource_id,
            reachable=reachable,
            since=now if known is None or changed else known.since,
            last_look_at=now if reachable else (known.last_look_at if known else None),
            error=error,
            watched_batches=self._batch_counts.get(profile_id, 0),
            scheduler_error=scheduler_error,
            scheduler_since=scheduler_since,
        )
        if changed and (known is not None or not reachable):
            write = log.info if reachable else log.warning
            write("resource reachable" if reachable else "resource unreachable", profile_id=profile_id, error=error)
        return changed
