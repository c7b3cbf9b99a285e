"""What is known about one batch on a SLURM cluster, and what the scheduler says about its launches.

An id alone proves nothing: SLURM uses ids again. A row is about a launch when id, user and marker agree and it was
not submitted before the launch was.
"""

from enum import Enum

import msgspec

from shared.pipes import Evidence
from shared.slurm.answers.accounting import Accounting, AccountingRow
from shared.slurm.answers.queue import Queue, QueueRow

CLOCK_SLACK_SECONDS = 600.0
"""How far the clocks of the service and of the cluster may be apart."""


class KnownLaunch(msgspec.Struct, frozen=True):
    """One launch that was made; `submitted_at` is the moment before it was submitted (epoch seconds)."""

    native_id: str
    submitted_at: float


class EndSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What SLURM said when a launch was first seen to be over. SLURM may forget it before the next look.

    `since` is the moment of that look, by the service's clock; the rest is in the cluster's words and times.
    """

    native_id: str
    since: float
    word: str
    reason: str = ""
    nodes: str = ""
    start: float | None = None
    limit_seconds: float | None = None


class SlurmEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about one batch at one moment.

    `uid` and `markers`: the user that its launches run as, and the job names they were submitted with. `files`,
    `queue`, `accounting`: None means that the call failed, which is no evidence of anything. `queue_shows_launches`:
    False where the cluster hides the launches from whoever asked (PrivateData). `accounting_kept`: the cluster
    keeps accounts. `end_seen` and `absent_since`: what the verdict before this one gave back, kept by the
    caller. `memory_mb` and `limit_seconds`: what the batch was submitted with, where that is known. `grows`: its
    files are longer than when they were last read, so that something lives whatever SLURM shows.
    """

    now: float
    uid: int
    markers: frozenset[str]
    launches: list[KnownLaunch]
    files: Evidence | None
    queue: Queue | None
    accounting: Accounting | None = None
    accounting_kept: bool = False
    queue_shows_launches: bool = True
    cancel_requested: bool = False
    end_seen: EndSeen | None = None
    absent_since: float | None = None
    memory_mb: int | None = None
    limit_seconds: float | None = None
    grows: bool = False


class Seen(Enum):
    """What the scheduler says about a launch."""

    PENDING = "it waits, perhaps again"
    ACTIVE = "a runner may live"
    TERMINAL = "SLURM is done with it"
    RECORDED = "the queue does not show it, and the accounting says that it has not ended"
    ABSENT = "a look that would have shown it did not"
    UNKNOWN = "a state word never heard of"
    NOT_LOOKED = "nobody could look"


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """The scheduler's word on one launch. `end` is there when it is TERMINAL, `queue` when the queue shows it."""

    seen: Seen
    word: str = ""
    queue: QueueRow | None = None
    accounting: AccountingRow | None = None
    end: EndSeen | None = None


def look_up(evidence: SlurmEvidence, launch: KnownLaunch) -> Sight:
    """Return what queue and accounting say about a launch."""
    recorded = _last_run(evidence, launch)
    if evidence.queue is None:
        return Sight(seen=Seen.NOT_LOOKED, accounting=recorded)
    rows = [row for row in evidence.queue.of(launch.native_id) if _is_about(row, evidence, launch)]
    if not rows:
        return _not_in_queue(evidence, evidence.queue, launch, recorded)
    for kind, seen in (("active", Seen.ACTIVE), ("pending", Seen.PENDING), ("unknown", Seen.UNKNOWN)):
        for row in rows:
            if row.state.kind == kind:
                return Sight(seen=seen, word=row.state.word, queue=row, accounting=recorded)
    return _terminal(evidence, launch, rows[0], recorded)


def _not_in_queue(
    evidence: SlurmEvidence, queue: Queue, launch: KnownLaunch, recorded: AccountingRow | None
) -> Sight:
    if not (queue.whole and evidence.queue_shows_launches):
        return Sight(seen=Seen.NOT_LOOKED, accounting=recorded)
    if evidence.end_seen is not None and evidence.end_seen.native_id == launch.native_id:
        return Sight(seen=Seen.TERMINAL, word=evidence.end_seen.word, accounting=recorded, end=evidence.end_seen)
    # The accounting alone would not do: it shows as ended what SLURM has put back into the queue.
    if recorded is not None and recorded.state.kind == "terminal":
        return _terminal(evidence, launch, recorded, recorded)
    if recorded is not None:
        seen = Seen.UNKNOWN if recorded.state.kind == "unknown" else Seen.RECORDED
        return Sight(seen=seen, word=recorded.state.word, accounting=recorded)
    if evidence.accounting_kept and evidence.accounting is None:
        return Sight(seen=Seen.NOT_LOOKED)
    return Sight(seen=Seen.ABSENT, accounting=recorded)


def _terminal(
    evidence: SlurmEvidence, launch: KnownLaunch, row: QueueRow | AccountingRow, recorded: AccountingRow | None
) -> Sight:
    before = evidence.end_seen
    known = before is not None and before.native_id == launch.native_id
    end = EndSeen(
        native_id=launch.native_id,
        since=min(before.since, evidence.now) if known and before is not None else evidence.now,
        word=row.state.word,
        reason=row.reason if isinstance(row, QueueRow) else "",
        nodes=row.nodes,
        start=row.start,
        limit_seconds=row.limit_seconds,
    )
    return Sight(seen=Seen.TERMINAL, word=row.state.word, accounting=recorded, end=end)


def _last_run(evidence: SlurmEvidence, launch: KnownLaunch) -> AccountingRow | None:
    if evidence.accounting is None:
        return None
    runs = [row for row in evidence.accounting.of(launch.native_id) if _is_about(row, evidence, launch)]
    return runs[-1] if runs else None


def _is_about(row: QueueRow | AccountingRow, evidence: SlurmEvidence, launch: KnownLaunch) -> bool:
    """Whether a row with the id of a launch is about that launch, and not about another job that had the id."""
    if row.uid != evidence.uid or evidence.markers.isdisjoint((row.name, row.comment)):
        return False
    # A requeue moves the time of submission, and only ever forward.
    return row.submit is None or row.submit >= launch.submitted_at - CLOCK_SLACK_SECONDS
