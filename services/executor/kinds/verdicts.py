"""What the evidence says about a batch. Pure functions; the table is in the architecture document.

A verdict is only ever drawn from files and from locks that were looked at: a call that failed is no evidence.
"""

from enum import Enum

import msgspec

from shared.pipes import Evidence
from stoker.contracts.jobs import Reason


class Verdict(Enum):
    """What is to be done about a launched batch."""

    GO_ON = "it runs, or is about to"
    COMPLETE = "its end record says that every unit was run"
    INTERRUPTED = "its end record says that it was told to stop"
    RUNNER_DIED = "the launch that holds the claim is gone, without an end record"
    NEVER_CLAIMED = "its launches are gone and none of them had claimed it"
    REVOKED = "the claim is the service's: no launch will ever run it"


def judge_local(evidence: Evidence) -> Verdict:
    """The verdict on a batch of a local resource, where a free lock proves that a runner is dead."""
    if evidence.end is not None:
        return Verdict.COMPLETE if evidence.end.how == "complete" else Verdict.INTERRUPTED
    if evidence.claim is None:
        return Verdict.GO_ON if any(launch.alive for launch in evidence.launches) else Verdict.NEVER_CLAIMED
    if evidence.claim.kind == "revoked":
        return Verdict.REVOKED
    return Verdict.GO_ON if evidence.claim_alive else Verdict.RUNNER_DIED


_CANCELLED = Reason(code="cancelled", text="cancelled before it had ended")
_NEVER_STARTED = Reason(code="cancelled", text="cancelled before it was started")


_WITHOUT_REQUEST = {
    Verdict.NEVER_CLAIMED: Reason(code="launch_failed", text="the runner ended before it could start"),
    Verdict.INTERRUPTED: Reason(code="interrupted", text="the runner was told to stop before this unit had ended"),
    Verdict.REVOKED: Reason(code="interrupted", text="given up before any launch of it had started"),
    Verdict.RUNNER_DIED: Reason(
        code="runner_died", text="the runner was killed or crashed before this unit had ended"
    ),
}


class Ending(msgspec.Struct, frozen=True):
    """How a batch ends: its state and reason, and what becomes of units that have no outcome (started; waiting)."""

    batch_state: str
    batch_reason: Reason | None
    started: tuple[str, Reason]
    waiting: tuple[str, Reason]


def ending(verdict: Verdict, *, cancel_requested: bool, detail: str = "") -> Ending | None:
    """How a batch ends by this verdict; None while it goes on. `detail` is the last words of a dead launch."""
    if verdict is Verdict.GO_ON:
        return None
    state = {Verdict.RUNNER_DIED: "lost", Verdict.REVOKED: "revoked"}.get(verdict, "ended")
    if verdict is Verdict.COMPLETE:
        missing = Reason(code="vanished", text="the runner ended without recording what became of this unit")
        return Ending(state, None, ("lost", missing), ("lost", missing))
    if cancel_requested:
        return Ending(state, _CANCELLED, ("cancelled", _CANCELLED), ("cancelled", _NEVER_STARTED))
    reason = _WITHOUT_REQUEST[verdict]
    if detail:
        reason = msgspec.structs.replace(reason, text=f"{reason.text}: {detail}")
    outcome = "failed" if verdict is Verdict.NEVER_CLAIMED else "lost"
    return Ending(state, reason, (outcome, reason), (outcome, reason))
