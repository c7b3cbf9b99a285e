"""What a kind of resource has to offer: launching batches, and verdicts on those that were launched."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from services.executor.model.endings import Ending
from services.executor.repositories.rows import BatchRow, JobRow
from shared.pipes import AgentConnection, Evidence, LaunchOutcome
from stoker.errors import Unavailable


class Launched(msgspec.Struct, frozen=True):
    """What became of each batch, by its name; `waiting` says why nothing is known of those that are missing."""

    answers: dict[str, LaunchOutcome]
    waiting: Unavailable | None = None


class Launcher(Protocol):
    """Launches and ends batches of one kind of resource; both calls are safe to repeat.

    `recall_again_seconds`: so long whoever was told to stop is given until it is told again.
    """

    recall_again_seconds: float

    async def launch(self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow]) -> Launched:
        """Launch batches. A native id that is answered once is answered for ever.

        `failed`: it can never be launched as it is. Raises Unavailable when nothing is known of any of them.
        """
        ...

    async def recall(self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow]) -> None:
        """Take back what a scheduler still holds of these batches; their claims are settled. Raises Unavailable."""
        ...


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
        self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow], found: Mapping[str, Evidence]
    ) -> dict[str, Judged]:
        """The verdict on each batch, by its id; `found` are their files, by name. Raises Unavailable.

        Whether the job is to be cancelled is looked up after everything else: what a cancellation did is then never
        taken for something else.
        """
        ...


class Kind(msgspec.Struct, frozen=True):
    """One kind of resource."""

    launcher: Launcher
    judge: Judge
