"""What was last seen of each watched batch, and whether the executor knows it. Pure: no clock, no network.

Every source of evidence notes what it saw here; what differs from the watch list is told to the executor.
"""

from collections.abc import Iterable

import msgspec

from shared.pipes import FollowSeen
from shared.slurm.answers.digests import digest_state, is_over
from stoker.contracts.watches import Observation, WatchedBatch


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """The latest evidence about one launch of a batch. `at` is when something last moved.

    `exists` is None while its files have not been looked at; `scheduler` is the digest of the last look at the queue,
    empty where there was none or it failed.
    """

    native_id: str
    at: float
    exists: bool | None = None
    events_length: int | None = None
    results_length: int | None = None
    ended: bool = False
    alive: bool | None = None
    scheduler: str = ""


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
        self._by_batch[batch.batch_id] = msgspec.structs.replace(
            self.of(batch) or Sighting(native_id=batch.native_id, at=at),
            at=at,
            exists=seen.exists,
            events_length=seen.events_length if seen.exists else None,
            results_length=seen.results_length if seen.exists else None,
            ended=seen.ended,
            alive=seen.alive,
        )

    def note_scheduler(self, batch: WatchedBatch, digest: str, at: float) -> bool:
        """Store what a look at the queue showed, and say whether that is news.

        An empty digest: the look failed, or told nothing about this launch.
        """
        known = self.of(batch) or Sighting(native_id=batch.native_id, at=at)
        if known.scheduler == digest:
            return False
        self._by_batch[batch.batch_id] = msgspec.structs.replace(known, scheduler=digest, at=at)
        return True

    def keep_only(self, batches: Iterable[WatchedBatch]) -> None:
        """Forget everything about other batches."""
        kept = {batch.batch_id for batch in batches}
        self._by_batch = {name: seen for name, seen in self._by_batch.items() if name in kept}


def differs(batch: WatchedBatch, seen: Sighting | None) -> bool:
    """Say whether the executor does not know all of what was seen."""
    return seen is not None and (files_differ(batch, seen) or scheduler_differs(batch, seen))


def files_differ(batch: WatchedBatch, seen: Sighting) -> bool:
    """Say whether the batch's files, or its runner's lock, tell more than the executor knows.

    A batch that is still listed although it ended, died or lost its folder is a difference: the executor has to look.
    """
    if seen.exists is None:
        return False
    if seen.ended or seen.alive is False or not seen.exists:
        return True
    return (seen.events_length, seen.results_length) != (batch.events_offset, batch.results_offset)


def scheduler_differs(batch: WatchedBatch, seen: Sighting) -> bool:
    """Say whether the queue tells more than the executor knows.

    What is over by the scheduler's word, and still listed, is a difference: the executor has to look again.
    """
    return seen.scheduler != "" and (seen.scheduler != batch.scheduler or is_over(seen.scheduler))


def observation(resource_id: str, batch: WatchedBatch, seen: Sighting) -> Observation:
    """Put a sighting into words for the executor."""
    return Observation(
        batch_id=batch.batch_id,
        job_id=batch.job_id,
        resource_id=resource_id,
        native_id=batch.native_id,
        observed_at=seen.at,
        events_length=seen.events_length,
        results_length=seen.results_length,
        ended=seen.ended,
        alive=seen.alive,
        scheduler_state=digest_state(seen.scheduler),
        scheduler=seen.scheduler or None,
    )
