"""SLURM's job states: which of them are over."""

import re
from typing import Literal

import msgspec

Kind = Literal["pending", "active", "terminal", "unknown"]

PENDING_STATES = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"},
)
ACTIVE_STATES = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED"})
TERMINAL_STATES = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "SPECIAL_EXIT",
        "TIMEOUT",
    }
)

_CANCELLED_BY = re.compile(r"CANCELLED by (\d{1,10})", re.ASCII)
_LONGEST_WORD = 64


class SlurmState(msgspec.Struct, frozen=True):
    """A state's word, what kind it is, and who cancelled it (a uid) where the accounting says so.

    `pending`: no runner lives (it may have, before a requeue). `active`: one may live. `terminal`: it will never run
    again under this id, unless somebody requeues it. `unknown`: a word never heard of, which proves nothing.
    """

    word: str
    kind: Kind
    cancelled_by_uid: int | None = None


def read_state(text: str) -> SlurmState:
    """Read a state as squeue or sacct print it ("CANCELLED by 1001", "CANCELLED+"). Never raises."""
    if found := _CANCELLED_BY.fullmatch(text.strip()):
        return SlurmState("CANCELLED", "terminal", int(found[1]))
    word = text.strip().rstrip("+")[:_LONGEST_WORD]
    kind: Kind = "unknown"
    if word in TERMINAL_STATES:
        kind = "terminal"
    elif word in ACTIVE_STATES:
        kind = "active"
    elif word in PENDING_STATES:
        kind = "pending"
    return SlurmState(word, kind)
