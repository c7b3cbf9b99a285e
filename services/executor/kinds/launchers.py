"""Launching batches that are staged: what every kind of resource has to offer the dispatcher."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import Row

from services.executor.resources.agents import batch_name, folder_of
from shared.pipes import AgentConnection, Launch
from stoker.errors import Unavailable


class Launched(msgspec.Struct, frozen=True):
    """What became of each batch, by its name; `waiting` says why nothing is known of those that are missing."""

    answers: dict[str, Launch]
    waiting: Unavailable | None = None


class Launcher(Protocol):
    """Launches and ends batches of one kind of resource; both calls are safe to repeat.

    `recall_again_seconds`: so long whoever was told to stop is given until it is told again.
    """

    recall_again_seconds: float

    async def launch(self, agent: AgentConnection, job: Row[Any], batches: Sequence[Row[Any]]) -> Launched:
        """Launch batches. A native id that is answered once is answered for ever.

        `failed`: it can never be launched as it is. Raises Unavailable when nothing is known of any of them.
        """
        ...

    async def recall(self, agent: AgentConnection, job: Row[Any], batches: Sequence[Row[Any]]) -> None:
        """Take back what a scheduler still holds of these batches; their claims are settled. Raises Unavailable."""
        ...


class LocalLauncher:
    """Runners that the agent starts itself."""

    recall_again_seconds = 2.0

    async def launch(self, agent: AgentConnection, job: Row[Any], batches: Sequence[Row[Any]]) -> Launched:
        """See `Launcher`."""
        return Launched(await agent.launch(folder_of(job), [batch_name(batch) for batch in batches]))

    async def recall(self, agent: AgentConnection, job: Row[Any], batches: Sequence[Row[Any]]) -> None:
        """Nobody holds them."""
