"""Why a batch on a SLURM cluster ended, in words for its user, and what becomes of its unfinished units."""

import math
import re
from collections.abc import Sequence

import msgspec

from services.executor.kinds.slurm.evidence import Sight, SlurmEvidence
from services.executor.model.endings import Ending, ending_again
from shared.pipes import Evidence
from shared.slurm.requests.script import WARNING_SIGNAL
from stoker.contracts.jobs import Reason

# SLURM's own words: slurmstepd with OverMemoryKill, with cgroups, and the kernel's.
_MEMORY_WORDS = re.compile(
    r"exceeded (?:job |step )?memory limit|oom[-_ ]?kill|out[-_ ]of[-_ ]memory handler", re.IGNORECASE
)
# What slurmstepd writes behind the output of a job that it ends. A runner that is told so ends by itself, and may be
# gone before SLURM has its own way: the job's state then says nothing of it.
_ENDED_BY_SLURM = re.compile(r"CANCELLED AT \S+ (?:DUE TO (PREEMPTION|TIME LIMIT|NODE FAILURE) )?\*\*\*")
_WORD_OF = {"PREEMPTION": "PREEMPTED", "TIME LIMIT": "TIMEOUT", "NODE FAILURE": "NODE_FAIL", None: "CANCELLED"}
_SAYS_NOTHING = ("COMPLETED", "FAILED", "")
_NOT_STARTED = ("JobLaunchFailure", "Prolog")
"""SLURM's reasons of ends of which no line of the batch script was run."""

_HELD = re.compile(r"launch.failed.requeued.held", re.IGNORECASE)
_PROLOG = re.compile(r"running (?:slurm )?prolog: \d", re.IGNORECASE)
_KILL = 9
_BYTES_PER_MB = 1024 * 1024
_EARLY_SECONDS = 120.0
"""The warning comes up to a minute before the time it is set to, and units take a moment to end."""

_BY_WORD = {
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "REVOKED": "scheduler_failed",
    "SPECIAL_EXIT": "scheduler_failed",
}
_OUTCOMES = {
    # What was in flight on a dead host, or vanished, may have done anything.
    "node_failure": "lost",
    "runner_died": "lost",
    "vanished": "lost",
    "interrupted": "lost",
    "cancelled": "cancelled",
}


def ending_vanished(evidence: SlurmEvidence, sight: Sight | None, *, absent_since: float, claimed: bool) -> Ending:
    """The end of a batch that nobody has seen for long; `sight` is the last one of it."""
    minutes = max(0, math.floor((evidence.now - absent_since) / 60))
    recorded = sight.accounting if sight is not None else None
    where = "the queue and the accounting" if evidence.accounting_kept and recorded is None else "the queue"
    how = "" if claimed else "; it had not started"
    if recorded is not None:
        how += f"; the accounting says {recorded.state.word}"
    reason = Reason(code="vanished", text=f"SLURM has shown no trace of it in {where} for {minutes} minutes{how}")
    return ending_again("lost", "lost", reason)


def ending_of(sight: Sight, evidence: SlurmEvidence, files: Evidence) -> Ending:
    """The end of a batch that SLURM is done with, or whose runner says that it was interrupted."""
    reason = _reason(sight, evidence, files)
    outcome = _OUTCOMES.get(reason.code, "failed")
    state = "lost" if reason.code == "runner_died" else "ended"
    if reason.code == "cancelled" or (reason.code == "launch_failed" and _ended_by_itself(sight)):
        # Somebody wanted it so, or the next one would end like this one.
        waiting = msgspec.structs.replace(reason, text=f"not started before its batch ended: {reason.text}")
        return Ending(state, reason, (outcome, reason), (outcome, waiting))
    return ending_again(state, outcome, reason)


def ending_held(sights: Sequence[Sight]) -> Ending | None:
    """The end of a batch whose launches its nodes did not let start, so that SLURM holds them; None for others.

    An administrator could release them; another launch goes to another node.
    """
    held = [sight for sight in sights if sight.queue is not None and _HELD.search(sight.queue.reason)]
    if not held or any(sight.end is None and sight not in held for sight in sights):
        return None
    text = "its node did not let it start, and SLURM holds it (launch failed requeued held)"
    return ending_again("ended", "failed", Reason(code="launch_failed", text=text))


def _ended_by_itself(sight: Sight) -> bool:
    """Whether the batch script came to an end of its own, before the runner."""
    if sight.end is not None and sight.end.reason in _NOT_STARTED:
        return False
    return sight.word in _SAYS_NOTHING


def _reason(sight: Sight, evidence: SlurmEvidence, files: Evidence) -> Reason:
    word = sight.word
    if word == "FAILED" and _ran_out_of_memory(sight, evidence, files):
        word = "OUT_OF_MEMORY"
    # A runner that was warned ends by itself before the limit: SLURM then knows of no time limit.
    interrupted = files.end is not None and files.end.how == "interrupted"
    if word in _SAYS_NOTHING and interrupted:
        word = "TIMEOUT" if _was_warned(sight, evidence, files) else _told_by_slurmstepd(files) or word
    if word == "CANCELLED" and _was_stopped_on_its_way(sight, evidence, files):
        text = f"{_nodes(sight)} did not let it start: the node's prolog failed{_says(word)}"
        return Reason(code="launch_failed", text=text, log_tail=files.runner_log_tail)
    code = _BY_WORD.get(word)
    if code is not None:
        return Reason(code=code, text=_text(code, word, sight, evidence), log_tail=files.runner_log_tail)
    if files.end is not None:
        why = files.end.reason or "the runner was told to stop"
        return Reason(code="interrupted", text=f"{why}{_says(word)}", log_tail=files.runner_log_tail)
    code = "runner_died" if files.claim is not None and files.claim.kind == "runner" else "launch_failed"
    what = "ended without writing its end" if code == "runner_died" else "never started: its script ended before"
    return Reason(code=code, text=f"the runner {what}{_exit(sight)}{_says(word)}", log_tail=files.runner_log_tail)


def _was_stopped_on_its_way(sight: Sight, evidence: SlurmEvidence, files: Evidence) -> bool:
    """Whether nobody cancelled it: SLURM does, as root, when a node's prolog fails.

    It had its node, and no line of its script was run: the log says nothing, or that of the prolog.
    """
    row = sight.accounting or sight.end
    if files.claim is not None and files.claim.kind == "runner":
        return False
    if _PROLOG.search(files.runner_log_tail):
        return True
    if row is None or row.start is None or not _nodes(sight) or files.runner_log_tail:
        return False
    recorded = sight.accounting
    by_root = recorded is not None and recorded.state.cancelled_by_uid == 0
    return by_root if evidence.accounting_kept else True


def _text(code: str, word: str, sight: Sight, evidence: SlurmEvidence) -> str:
    if code == "time_limit":
        return _time_text(word, _limit_seconds(sight, evidence))
    if code == "out_of_memory":
        peak = sight.accounting.peak_memory_bytes if sight.accounting is not None else None
        used = f", after it had used {peak / _BYTES_PER_MB:.0f} MiB" if peak is not None else ""
        given = f" ({evidence.memory_mb} MB for the batch)" if evidence.memory_mb is not None else ""
        return f"the SLURM job ran out of memory{given}{used}"
    if code == "node_failure":
        nodes = _nodes(sight)
        return f"the node failed{f' ({nodes})' if nodes else ''}{_says(word)}"
    if code == "cancelled":
        return f"the SLURM job was cancelled{_by_whom(sight)}"
    if code == "preempted":
        return "the SLURM job was preempted: a job with a higher priority took its place"
    return f"SLURM gave the job up{_says(word)}"


def _time_text(word: str, limit_seconds: float | None) -> str:
    if word == "DEADLINE":
        return "the SLURM job could no longer end before its deadline"
    how_long = f" of {limit_seconds / 60:g} minutes" if limit_seconds is not None else ""
    return f"the SLURM job reached its time limit{how_long}"


def _ran_out_of_memory(sight: Sight, evidence: SlurmEvidence, files: Evidence) -> bool:
    if sight.end is not None and sight.end.reason == "OutOfMemory":
        return True
    recorded = sight.accounting
    if recorded is not None and recorded.state.word == "OUT_OF_MEMORY":
        return True
    if _MEMORY_WORDS.search(files.runner_log_tail):
        return True
    if recorded is None or recorded.exit_signal != _KILL:
        return False
    peak = recorded.peak_memory_bytes
    return peak is not None and evidence.memory_mb is not None and peak >= evidence.memory_mb * _BYTES_PER_MB


def _told_by_slurmstepd(files: Evidence) -> str | None:
    found = _ENDED_BY_SLURM.search(files.runner_log_tail)
    return None if found is None else _WORD_OF[found[1]]


def _was_warned(sight: Sight, evidence: SlurmEvidence, files: Evidence) -> bool:
    if files.end is not None and f"SIG{WARNING_SIGNAL}" in files.end.reason:
        return True
    limit = _limit_seconds(sight, evidence)
    starts = [row.start for row in (sight.accounting, sight.end, sight.queue) if row is not None]
    start = next((moment for moment in starts if moment is not None), None)
    if limit is None or start is None or files.end is None:
        return False
    return files.end.at >= start + limit - _EARLY_SECONDS


def _limit_seconds(sight: Sight, evidence: SlurmEvidence) -> float | None:
    rows = (sight.end, sight.accounting)
    limits = [evidence.limit_seconds, *(row.limit_seconds for row in rows if row is not None)]
    return next((limit for limit in limits if limit is not None and not math.isinf(limit)), None)


def _by_whom(sight: Sight) -> str:
    recorded = sight.accounting
    uid = recorded.state.cancelled_by_uid if recorded is not None else None
    if recorded is None or uid is None:
        return " (scancel)"
    if uid == 0:
        return " by an administrator (root)"
    who = recorded.user if uid == recorded.uid and recorded.user else "the user"
    return f" by {who} with uid {uid} (scancel)"


def _exit(sight: Sight) -> str:
    recorded = sight.accounting
    if recorded is None or recorded.exit_code is None or recorded.state.kind != "terminal":
        return ""
    if recorded.exit_signal:
        memory = ", as happens when memory runs out" if recorded.exit_signal == _KILL else ""
        return f" (signal {recorded.exit_signal}{memory})"
    return f" (exit code {recorded.exit_code})"


def _nodes(sight: Sight) -> str:
    rows = (sight.end, sight.accounting)
    return next((row.nodes for row in rows if row is not None and row.nodes), "")


def _says(word: str) -> str:
    return f"; SLURM says {word}" if word else ""
