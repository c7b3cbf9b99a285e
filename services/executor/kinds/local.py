"""This machine: runners that the agent starts itself, and that hold a lock for as long as they live.

A verdict is only ever drawn from files and from locks that were looked at: a call that failed is no evidence.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from services.executor.kinds.kind import Judged, Launched
from services.executor.model.endings import GIVEN_UP, Ending, ending_again, ending_cancelled, ending_complete
from services.executor.repositories.jobs import is_to_be_cancelled
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.resources.agents import batch_name, folder_of
from shared.pipes import AgentConnection, Evidence
from shared.service.database.transactions import Database
from stoker.contracts.jobs import Reason


class LocalLauncher:
    """Runners that the agent starts itself."""

    recall_again_seconds = 2.0

    async def launch(self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow]) -> Launched:
        """See `Launcher`."""
        return Launched(await agent.launch(folder_of(job), [batch_name(batch) for batch in batches]))

    async def recall(self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow]) -> None:
        """Nobody holds them."""


class LocalJudge:
    """Batches whose runners hold a lock on this machine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def judge(
        self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow], found: Mapping[str, Evidence]
    ) -> dict[str, Judged]:
        """See `Judge`."""
        files = {batch_name(batch): found[batch_name(batch)] for batch in batches}
        verdicts = {name: judge_local(seen) for name, seen in files.items()}
        over = (Verdict.RUNNER_DIED, Verdict.NEVER_CLAIMED, Verdict.DAMAGED)
        dead = [name for name, verdict in verdicts.items() if verdict in over]
        if dead:
            # Make it certain before it is believed: after this no launch can start, strays are gone, and what a dying
            # runner wrote last is seen by the second look.
            await agent.revoke(folder_of(job), dead)
            files |= await agent.find(folder_of(job), dead)
            for name in dead:
                again = judge_local(files[name])
                verdicts[name] = verdicts[name] if again is Verdict.REVOKED else again
        cancelled = await is_to_be_cancelled(self._database, job.id)
        judged = {}
        for batch in batches:
            name = batch_name(batch)
            detail = files[name].runner_log_tail.strip()
            how = local_ending(verdicts[name], cancel_requested=cancelled, detail=detail)
            judged[batch.id] = Judged(files=files[name], ending=how)
        return judged


class Verdict(Enum):
    """What is to be done about a launched batch."""

    GO_ON = "it runs, or is about to"
    COMPLETE = "its end record says that every unit was run"
    INTERRUPTED = "its end record says that it was told to stop"
    RUNNER_DIED = "the launch that holds the claim is gone, without an end record"
    NEVER_CLAIMED = "its launches are gone and none of them had claimed it"
    REVOKED = "the claim is the service's: no launch will ever run it"
    DAMAGED = "the claim makes no sense, so no launch will ever run it, and none lives"


def judge_local(evidence: Evidence) -> Verdict:
    """The verdict on a batch of a local resource, where a free lock proves that a runner is dead."""
    if evidence.end is not None:
        return Verdict.COMPLETE if evidence.end.how == "complete" else Verdict.INTERRUPTED
    if evidence.claim is None:
        return Verdict.GO_ON if any(launch.alive for launch in evidence.launches) else Verdict.NEVER_CLAIMED
    if evidence.claim.kind == "revoked":
        return Verdict.REVOKED
    if evidence.claim_alive:
        return Verdict.GO_ON
    return Verdict.DAMAGED if evidence.claim.kind == "damaged" else Verdict.RUNNER_DIED


_WITHOUT_REQUEST = {
    Verdict.NEVER_CLAIMED: Reason(code="launch_failed", text="the runner ended before it could start"),
    Verdict.INTERRUPTED: Reason(code="interrupted", text="the runner was told to stop before this unit had ended"),
    Verdict.REVOKED: GIVEN_UP,
    Verdict.RUNNER_DIED: Reason(
        code="runner_died", text="the runner was killed or crashed before this unit had ended"
    ),
    Verdict.DAMAGED: Reason(
        code="runner_died", text="nothing runs it any more, and the file that says who ran it makes no sense"
    ),
}


def local_ending(verdict: Verdict, *, cancel_requested: bool, detail: str = "") -> Ending | None:
    """How a batch ends by this verdict; None while it goes on. `detail` is the last words of a dead launch."""
    if verdict is Verdict.GO_ON:
        return None
    if verdict is Verdict.COMPLETE:
        return ending_complete()
    states = {Verdict.RUNNER_DIED: "lost", Verdict.DAMAGED: "lost", Verdict.REVOKED: "revoked"}
    state = states.get(verdict, "ended")
    if cancel_requested:
        return ending_cancelled(state)
    reason = _WITHOUT_REQUEST[verdict]
    if detail:
        reason = msgspec.structs.replace(reason, text=f"{reason.text}: {detail}")
    return ending_again(state, "lost", reason)
