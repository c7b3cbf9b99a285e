"""What was last seen of each watched batch, and whether the executor knows it. Pure: no clock, no network.

Every source of evidence notes what it saw here; what differs from the watch list is told to the executor.
"""

from collections.abc import Iterable

import msgspec

from shared.contracts.watches import Observation, WatchedBatch
from shared.pipes import FollowSeen


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """The latest evidence about one launch of a batch. `at` is when something last moved."""

    native_id: str
    at: float
    exists: bool
    events_length: int
    results_length: int
    ended: bool
    alive: bool | None


class Sightings:
    """By batch; only of launches that the watch list names."""

    def __init__(self) -> None:
        self._by_batch: dict[str, Sighting] = {}

    def of(self, batch: WatchedBatch) -> Sighting | None:
        """Return what was seen of this launch of the batch."""
        seen = self._by_batch.get(batch.batch_id)
        return seen if seen is not None and seen.native_id == batch.native_id else None

    def note(self, batch: WatchedBatch, seen: FollowSeen, at: float) -> None:
        """Store what following the batch's files showed."""
        self._by_batch[batch.batch_id] = Sighting(
            native_id=batch.native_id,
            at=at,
            exists=seen.exists,
            events_length=seen.events_length,
            results_length=seen.results_length,
            ended=seen.ended,
            alive=seen.alive,
        )

    def keep_only(self, batches: Iterable[WatchedBatch]) -> None:
        """Forget everything about other batches."""
        kept = {batch.batch_id for batch in batches}
        self._by_batch = {name: seen for name, seen in self._by_batch.items() if name in kept}


def differs(batch: WatchedBatch, seen: Sighting | None) -> bool:
    """Say whether the executor does not know all of what was seen.

    A batch that is still listed although it ended, died or lost its folder is a difference: the executor has to look.
    """
    if seen is None:
        return False
    if seen.ended or seen.alive is False or not seen.exists:
        return True
    return (seen.events_length, seen.results_length) != (batch.events_offset, batch.results_offset)


def observation(resource_id: str, batch: WatchedBatch, seen: Sighting) -> Observation:
    """Put a sighting into words for the executor."""
    return Observation(
        batch_id=batch.batch_id,
        job_id=batch.job_id,
        resource_id=resource_id,
        native_id=batch.native_id,
        observed_at=seen.at,
        events_length=seen.events_length if seen.exists else None,
        results_length=seen.results_length if seen.exists else None,
        ended=seen.ended,
        alive=seen.alive,
    )
