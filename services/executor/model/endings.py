"""How batches end, in words that every kind of resource shares."""

import msgspec

from stoker.contracts.jobs import Reason

CANCELLED = Reason(code="cancelled", text="cancelled before it had ended")
NEVER_STARTED = Reason(code="cancelled", text="cancelled before it was started")
CANCELLED_BETWEEN = Reason(code="cancelled", text="cancelled before it was tried again")
GIVEN_UP = Reason(code="interrupted", text="given up before any launch of it had started")
MISSING = Reason(code="vanished", text="the runner ended without recording what became of this unit")


class Ending(msgspec.Struct, frozen=True):
    """How a batch ends: its state and reason, and what becomes of units that have no outcome (started; waiting).

    `again`: what has not begun never will in this batch, and through no fault of its own: it is launched again in
    another one. `waiting` is then its outcome where that has come to nothing too often.
    """

    batch_state: str
    batch_reason: Reason | None
    started: tuple[str, Reason]
    waiting: tuple[str, Reason]
    again: bool = False


def ending_complete() -> Ending:
    """The runner says that it ran every unit: what has no result all the same is lost."""
    return Ending("ended", None, ("lost", MISSING), ("lost", MISSING))


def ending_cancelled(batch_state: str) -> Ending:
    """The end of a batch that somebody had asked to be cancelled."""
    return Ending(batch_state, CANCELLED, ("cancelled", CANCELLED), ("cancelled", NEVER_STARTED))


def ending_again(batch_state: str, outcome: str, reason: Reason) -> Ending:
    """The end of a batch whose units that have not begun are launched again; `outcome` is that of those in flight."""
    return Ending(batch_state, reason, (outcome, reason), ("failed", reason), again=True)


def ending_unstarted(batch_state: str, outcome: str, reason: Reason) -> Ending:
    """The end of a batch that no runner ran: one outcome for all of its units."""
    return Ending(batch_state, reason, (outcome, reason), (outcome, reason))
