"""Verdicts on launched batches: what every kind of resource has to offer the collector."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import Row

from services.executor.kinds.verdicts import Ending, Verdict, ending, judge_local
from services.executor.repositories.jobs import is_to_be_cancelled
from services.executor.resources.agents import batch_name, folder_of
from shared.pipes import AgentConnection, Evidence
from shared.service.database.transactions import Database


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done about one batch.

    `files`: the last look at them; everything up to its lengths is read before anything else. `ending`: how it ends,
    None while it goes on. `seen`: columns of its row to be kept for the next look.
    """

    files: Evidence
    ending: Ending | None = None
    seen: dict[str, Any] = {}


class Judge(Protocol):
    """Draws verdicts on batches of one kind of resource; safe to repeat."""

    async def judge(
        self, agent: AgentConnection, job: Row[Any], batches: Sequence[Row[Any]], found: Mapping[str, Evidence]
    ) -> dict[str, Judged]:
        """The verdict on each batch, by its id; `found` are their files, by name. Raises Unavailable.

        Whether the job is to be cancelled is looked up after everything else: what a cancellation did is then never
        taken for something else.
        """
        ...


class LocalJudge:
    """Batches whose runners hold a lock on this machine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def judge(
        self, agent: AgentConnection, job: Row[Any], batches: Sequence[Row[Any]], found: Mapping[str, Evidence]
    ) -> dict[str, Judged]:
        """See `Judge`."""
        files = {batch_name(batch): found[batch_name(batch)] for batch in batches}
        verdicts = {name: judge_local(seen) for name, seen in files.items()}
        dead = [name for name, verdict in verdicts.items() if verdict in (Verdict.RUNNER_DIED, Verdict.NEVER_CLAIMED)]
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
            how = ending(verdicts[name], cancel_requested=cancelled, detail=detail)
            judged[batch.id] = Judged(files=files[name], ending=how)
        return judged
