"""One open pipe with an agent behind it: a method per verb, typed answers."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from shared.pipes.answers import (
    Cancellation,
    Evidence,
    FileSlice,
    FollowSeen,
    FollowTarget,
    Hello,
    Launch,
    Measure,
    Removal,
    Revocation,
)
from shared.pipes.pipe import Pipe
from shared.pipes.places import Place
from shared.pipes.staged_files import StagedFile
from shared.pipes.streams import FetchStream, ReadStream


class AgentConnection:
    """Requests run concurrently. Every verb is safe to repeat.

    All raise `Unavailable` when the pipe is lost or the answer does not come in time (the verb may have taken effect),
    `Invalid` (or its subclass `Refused`) when it can never succeed as asked.
    """

    hello: Hello

    @classmethod
    async def open(cls, pipe: Pipe, roots: Mapping[str, str], *, answer_timeout_seconds: float = 30.0) -> "AgentConnection":
        """Wait for the agent's first line, say hello. Closes the pipe when that fails."""
        raise NotImplementedError

    @property
    def lost(self) -> str | None:
        """Why the connection is unusable, None while it works."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the agent. Pending calls raise Unavailable."""
        raise NotImplementedError

    async def stage(self, place: Place, files: Iterable[StagedFile] | AsyncIterable[StagedFile]) -> bool:
        """Make the folder with these files, complete or not at all. False: it was there and is untouched."""
        raise NotImplementedError

    async def launch(self, job: Place, batches: Sequence[str], *, kind: str = "local") -> dict[str, Launch]:
        """Launch batches of a staged job folder; each is run once in effect however often this is called."""
        raise NotImplementedError

    async def find(self, job: Place, batches: Sequence[str]) -> dict[str, Evidence]:
        """Return what the files say about each batch."""
        raise NotImplementedError

    async def revoke(self, job: Place, batches: Sequence[str]) -> dict[str, Revocation]:
        """Claim batches so that nobody runs them from now on, unless a runner was first; end strays of dead runners."""
        raise NotImplementedError

    async def cancel(self, job: Place, batches: Sequence[str], native_ids: Sequence[str] = ()) -> dict[str, Cancellation]:
        """Tell the runners of these batches to stop."""
        raise NotImplementedError

    def follow(self, targets: Sequence[FollowTarget]) -> AbstractAsyncContextManager[AsyncIterator[FollowSeen]]:
        """Yield what changes, until the context is left: `async with connection.follow(targets) as seen: async for …`."""
        raise NotImplementedError

    def read(self, place: Place, offset: int = 0, limit: int | None = None) -> AbstractAsyncContextManager[ReadStream]:
        """Stream a file: `async with connection.read(place) as stream: stream.size; async for chunk in stream`."""
        raise NotImplementedError

    async def read_slice(self, place: Place, offset: int, limit: int) -> FileSlice:
        """Read at most `limit` bytes into memory. NotFound when there is no such file."""
        raise NotImplementedError

    def fetch(self, place: Place, exclude: Sequence[str] = ()) -> AbstractAsyncContextManager[FetchStream]:
        """Stream a folder's regular files: `async with connection.fetch(place) as files: async for file in files`.

        `exclude` are paths relative to the folder, left out with all below them.
        """
        raise NotImplementedError

    async def remove(self, place: Place) -> Removal:
        """Delete a folder or file with all below it."""
        raise NotImplementedError

    async def measure(self, place: Place) -> Measure:
        """Disk use of a folder."""
        raise NotImplementedError
