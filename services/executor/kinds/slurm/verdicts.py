"""What is to be done about a batch on a SLURM cluster: a pure function of the evidence.

Files, queue and accounting are compared for the launch that holds the claim; while nobody holds it, for all launches.
A call that failed is no evidence: it changes nothing, and the graces begin anew, so that they count only looks that
succeeded without a break.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from services.executor.kinds.slurm.end_reasons import ending_held, ending_of, ending_vanished
from services.executor.kinds.slurm.evidence import (
    CLOCK_SLACK_SECONDS,
    EndSeen,
    KnownLaunch,
    Seen,
    Sight,
    SlurmEvidence,
    look_up,
)
from services.executor.model.endings import GIVEN_UP, Ending, ending_again, ending_cancelled, ending_complete
from shared.pipes import Evidence
from shared.slurm.answers.reasons import pending_reason


class Graces(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for what may be on its way, in seconds.

    `files`: from SLURM's end to the runner's end record (file systems that remember). `accounting`: from SLURM's end
    to its record of it, which knows who cancelled and by which signal it ended. `absent`: from the first look that
    should have shown a launch and did not, until it counts as lost. `record`: for so long a record of the accounting
    that says of a launch without a time limit that it has not ended is believed against the queue.
    """

    files_seconds: float = 90.0
    accounting_seconds: float = 15.0
    absent_seconds: float = 900.0
    record_seconds: float = 86_400.0


class GoOn(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is decided. The caller keeps `end_seen` and `absent_since` (None as well) for the next look.

    `state` None: the batch's state is unknown at the moment. `note` says in words what it waits for, or why nobody
    knows. `estimated_start` is SLURM's (epoch seconds). `unknown_word`: to be logged, once.
    """

    state: Literal["queued", "running"] | None
    note: str = ""
    estimated_start: float | None = None
    unknown_word: str | None = None
    end_seen: EndSeen | None = None
    absent_since: float | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The batch is over.

    `revoke_first`: claim the batch for the service, look at its files again, and judge again: it is over when the
    answer is an `End` once more. Somebody may have been first.
    """

    ending: Ending
    revoke_first: bool = False


def judge_slurm(evidence: SlurmEvidence, graces: Graces) -> GoOn | End:
    """The verdict on one batch that was launched. Never raises."""
    files = evidence.files
    if files is None:
        return GoOn(state=None, note="its folder cannot be read at the moment")
    claim = files.claim
    if claim is not None and claim.kind == "revoked":
        return _revoked(evidence, files)
    if claim is None or claim.kind == "damaged":
        return _unclaimed(evidence, files, graces) if claim is None else _damaged(evidence, files, graces)
    if files.end is not None and files.end.native_id != claim.native_id:
        # Only the launch that holds the claim has a say.
        files = msgspec.structs.replace(files, end=None)
    if files.end is not None and files.end.how == "complete":
        return End(ending=ending_complete())
    if files.end is not None and evidence.cancel_requested:
        return End(ending=ending_cancelled("ended"))
    known = (launch for launch in evidence.launches if launch.native_id == claim.native_id)
    # The record of a launch may have been lost; what all launches have in common still tells it from strangers.
    holder = next(known, KnownLaunch(claim.native_id, 0.0))
    return _claimed(evidence, files, look_up(evidence, holder), graces)


def _damaged(evidence: SlurmEvidence, files: Evidence, graces: Graces) -> GoOn | End:
    """Nobody knows which launch holds it: the last one, as far as anybody knows."""
    if not evidence.launches:
        return End(ending=_cancelled_or(evidence, ending_again("revoked", "lost", GIVEN_UP)))
    last = evidence.launches[-1]
    if files.end is not None and files.end.native_id != last.native_id:
        files = msgspec.structs.replace(files, end=None)
    if files.end is not None and files.end.how == "complete":
        return End(ending=ending_complete())
    return _claimed(evidence, files, look_up(evidence, last), graces)


def _claimed(evidence: SlurmEvidence, files: Evidence, sight: Sight, graces: Graces) -> GoOn | End:
    if sight.end is not None:
        if (note := _awaited(evidence, files, sight, sight.end, graces)) is not None:
            return GoOn(state="running", note=note, end_seen=sight.end)
        return End(ending=_cancelled_or(evidence, ending_of(sight, evidence, files)))
    if sight.seen not in (Seen.ABSENT, Seen.RECORDED):
        return _alive(sight, "running")
    since = _absent_since(evidence)
    if files.end is not None and evidence.now - since >= graces.files_seconds:
        # It is over by its own word; only who stopped it is not known.
        return End(ending=ending_of(sight, evidence, files))
    if evidence.now - since < graces.absent_seconds or _is_believed(evidence, sight, since, graces):
        return _absent(evidence, since, sight)
    ending = ending_vanished(evidence, sight, absent_since=since, claimed=True)
    return End(ending=_cancelled_or(evidence, ending), revoke_first=True)


def _unclaimed(evidence: SlurmEvidence, files: Evidence, graces: Graces) -> GoOn | End:
    sights = [look_up(evidence, launch) for launch in evidence.launches]
    if (ending := ending_held(sights)) is not None:
        return End(ending=_cancelled_or(evidence, ending), revoke_first=True)
    for seen in (Seen.ACTIVE, Seen.PENDING, Seen.UNKNOWN, Seen.NOT_LOOKED):
        for sight in sights:
            if sight.seen is seen:
                return _alive(sight, "queued")
    if not sights:
        return GoOn(state="queued", note="it is being submitted")
    last = sights[-1]
    if all(sight.end is not None for sight in sights) and last.end is not None:
        if (note := _awaited(evidence, files, last, last.end, graces)) is not None:
            return GoOn(state="queued", note=note, end_seen=last.end)
        return End(ending=_cancelled_or(evidence, ending_of(last, evidence, files)), revoke_first=True)
    return _unseen(evidence, sights, graces)


def _unseen(evidence: SlurmEvidence, sights: Sequence[Sight], graces: Graces) -> GoOn | End:
    """Nobody holds the claim, and the queue does not show at least one of the launches."""
    last, since = sights[-1], _absent_since(evidence)
    # One that waits by the accounting alone can be fenced off; in one that was started something may be about to.
    started = any(
        sight.accounting is not None
        and sight.accounting.state.kind == "active"
        and _is_believed(evidence, sight, since, graces)
        for sight in sights
    )
    if started or evidence.now - since < graces.absent_seconds:
        return _absent(evidence, since, last)
    ending = ending_vanished(evidence, last, absent_since=since, claimed=False)
    return End(ending=_cancelled_or(evidence, ending), revoke_first=True)


def _revoked(evidence: SlurmEvidence, files: Evidence) -> End:
    """No launch will ever run it; what is left to say is why."""
    if evidence.cancel_requested:
        return End(ending=ending_cancelled("revoked"))
    sights = [look_up(evidence, launch) for launch in evidence.launches]
    ended = [sight for sight in sights if sight.end is not None]
    if ended:
        return End(ending=ending_of(ended[-1], evidence, files))
    if (held := ending_held(sights)) is not None:
        return End(ending=held)
    if evidence.absent_since is not None:
        last = sights[-1] if sights else None
        return End(ending=ending_vanished(evidence, last, absent_since=evidence.absent_since, claimed=False))
    return End(ending=ending_again("revoked", "lost", GIVEN_UP))


def _awaited(evidence: SlurmEvidence, files: Evidence, sight: Sight, end: EndSeen, graces: Graces) -> str | None:
    """What may still come after SLURM's end; None when nothing is waited for any more."""
    waited = evidence.now - end.since
    recorded = sight.accounting is not None and sight.accounting.state.kind == "terminal"
    if files.end is None and waited < graces.files_seconds:
        return f"SLURM says {end.word}; the last words of the batch are awaited"
    if evidence.accounting_kept and not recorded and waited < graces.accounting_seconds:
        return f"SLURM says {end.word}; its record of why is awaited"
    return None


def _cancelled_or(evidence: SlurmEvidence, ending: Ending) -> Ending:
    return ending_cancelled("ended") if evidence.cancel_requested else ending


def _alive(sight: Sight, state: Literal["queued", "running"]) -> GoOn:
    row = sight.queue
    if sight.seen is Seen.NOT_LOOKED:
        return GoOn(state=None, note="SLURM cannot be asked about it at the moment")
    if sight.seen is Seen.UNKNOWN:
        note = f"SLURM says {sight.word}, a state that is not known here"
        return GoOn(state=None, note=note, unknown_word=sight.word)
    if sight.seen is Seen.PENDING and row is not None:
        return GoOn(state=state, note=pending_reason(row.reason), estimated_start=row.start)
    return GoOn(state=state, note="" if state == "running" else "SLURM has started it; its first sign is awaited")


def _is_believed(evidence: SlurmEvidence, sight: Sight, since: float, graces: Graces) -> bool:
    """Whether it may well live: the accounting says so, and its time is not over.

    Records of jobs that a controller has forgotten say for ever that they run.
    """
    row = sight.accounting
    if sight.seen is not Seen.RECORDED or row is None or evidence.cancel_requested:
        return False
    if row.state.word == "RUNNING" and row.start is not None and row.limit_seconds not in (None, math.inf):
        return evidence.now < row.start + (row.limit_seconds or 0.0) + CLOCK_SLACK_SECONDS
    return evidence.now - since < graces.record_seconds


def _absent(evidence: SlurmEvidence, since: float, sight: Sight) -> GoOn:
    minutes = int((evidence.now - since) // 60)
    where, but = ("trace of it", "")
    if sight.seen is Seen.RECORDED:
        where, but = "trace of it in its queue", f"; its accounting says {sight.word}"
    note = f"SLURM has shown no {where} for {minutes} minutes{but}" if minutes else f"SLURM shows no {where}{but}"
    return GoOn(state=None, note=note, absent_since=since)


def _absent_since(evidence: SlurmEvidence) -> float:
    if evidence.absent_since is None or evidence.grows:
        return evidence.now  # what still writes has left a trace
    return min(evidence.absent_since, evidence.now)
