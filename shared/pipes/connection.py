"""One open pipe with an agent behind it: a method per verb, typed answers."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from shared.pipes.errors import PipeLost, TooMuch
from shared.pipes.pipe import Pipe
from shared.pipes.places import Place
from shared.pipes.protocol import answers, slurm_calls
from shared.pipes.protocol.answers import (
    Cancellation,
    ClusterSaid,
    CommandSaid,
    Evidence,
    FetchEnd,
    FileSlice,
    FollowSeen,
    FollowTarget,
    Hello,
    LaunchOutcome,
    Measure,
    Removal,
    Revocation,
    SubmissionSeen,
)
from shared.pipes.protocol.exchange import Exchange
from shared.pipes.protocol.frames import CHUNK_BYTES
from shared.pipes.protocol.streams import FetchStream, ReadStream
from shared.pipes.staged_files import StagedFile, tar_stream
from shared.slurm.answers.calls import only_gone
from shared.slurm.answers.native_ids import compressed
from stoker.errors import Invalid, Unavailable

PROTOCOL = 1
HEARTBEAT_TIMEOUT_SECONDS = 35.0
"""The agent says something at least every ten seconds in a follow."""

_BATCHES_AT_ONCE = 200

T = TypeVar("T")


class AgentConnection:
    """Requests run concurrently. Every verb is safe to repeat.

    All raise `Unavailable` when the pipe is lost or the answer does not come in time (the verb may have taken
    effect), `Invalid` (or its subclass `Refused`) when it can never succeed as asked.
    """

    def __init__(self, exchange: Exchange, hello: Hello, answer_timeout_seconds: float) -> None:
        self._exchange = exchange
        self._timeout = answer_timeout_seconds
        # What moves or deletes many bytes may take longer before it has anything to say.
        self._long_timeout = answer_timeout_seconds * 10
        self.hello = hello

    @classmethod
    async def open(
        cls,
        pipe: Pipe,
        roots: Mapping[str, str],
        *,
        slurm: Mapping[str, str] | None = None,
        answer_timeout_seconds: float = 30.0,
    ) -> "AgentConnection":
        """Wait for the agent's first line, say hello. Closes the pipe when that fails.

        `slurm` is where the agent finds SLURM: see `slurm_of`.
        """
        exchange = Exchange(pipe)
        try:
            await exchange.greet(answer_timeout_seconds)
            request = {"protocols": [PROTOCOL], "roots": dict(roots), "slurm": dict(slurm or {})}
            hello = await _ask(exchange, "hello", request, Hello, answer_timeout_seconds)
            if hello.protocol != PROTOCOL or hello.roots.keys() != roots.keys():
                raise PipeLost("the agent's hello does not fit what it was asked")  # noqa: TRY301 - one way out
        except BaseException:
            await exchange.close()
            raise
        return cls(exchange, hello, answer_timeout_seconds)

    @property
    def lost(self) -> str | None:
        """Why the connection is unusable, None while it works."""
        return self._exchange.lost

    @property
    def idle_since(self) -> float | None:
        """Monotonic time of the end of the last request, None while there are requests in flight."""
        return self._exchange.idle_since

    async def close(self) -> None:
        """End the agent. Pending calls raise Unavailable."""
        await self._exchange.close()

    async def stage(self, place: Place, files: Iterable[StagedFile] | AsyncIterable[StagedFile]) -> bool:
        """Make the folder with these files, complete or not at all. False: it was there and is untouched."""
        async with self._exchange.call("stage", _fields(place)) as call:
            wanted = True
            async for piece in tar_stream(files):
                wanted = await self._exchange.send_data(call, piece, self._timeout)
                if not wanted:
                    break
            if wanted:
                await self._exchange.send_end(call)
            answer = await call.answer(self._long_timeout)
            return self._decoded(answer, answers.StageAnswer).created

    async def launch(self, job: Place, batches: Sequence[str], *, kind: str = "local") -> dict[str, LaunchOutcome]:
        """Launch batches of a staged job folder; each is run once in effect however often this is called."""
        request = {**_fields(job), "batches": list(batches), "kind": kind}
        return _for_each(batches, (await self._ask("launch", request, answers.LaunchAnswer, long=True)).batches)

    async def submit(
        self, job: Place, *, marker: str, script: str, arguments: Sequence[str], wait_seconds: int = 30
    ) -> SubmissionSeen:
        """Run sbatch at most once for each marker, and say what became of it; waits for it up to `wait_seconds`.

        `script` goes into the file that `shared.slurm.requests.script.script_path` names, which has to be the last of
        `arguments`; the others are long options. With `exit_code` None and no word in `stdout`, SLURM has to be
        asked for the marker; nothing but another marker starts sbatch again. Refused where there is no sbatch.
        """
        said = {"marker": marker, "script": script, "arguments": list(arguments), "wait_seconds": wait_seconds}
        request = {**_fields(job), **said}
        return await self._ask("submit", request, SubmissionSeen, long=True)

    async def queue(
        self, arguments: Sequence[str], *, timeout_seconds: int = slurm_calls.TIMEOUT_SECONDS
    ) -> CommandSaid:
        """Run `squeue` with these arguments. Refused where there is no squeue."""
        return await self._said("queue", timeout_seconds, arguments=list(arguments))

    async def account(
        self, arguments: Sequence[str], *, timeout_seconds: int = slurm_calls.TIMEOUT_SECONDS
    ) -> CommandSaid:
        """Run `sacct` with these arguments. Refused where there is no sacct."""
        return await self._said("account", timeout_seconds, arguments=list(arguments))

    async def cluster(self, *, timeout_seconds: int = slurm_calls.TIMEOUT_SECONDS) -> ClusterSaid:
        """Ask what the cluster is like. Refused where there is no sbatch; other programs may be missing."""
        said = await self._said("cluster", timeout_seconds)
        return self._decoded(said.stdout.encode(), ClusterSaid)

    async def scancel(
        self, native_ids: Sequence[str], *, timeout_seconds: int = slurm_calls.TIMEOUT_SECONDS
    ) -> CommandSaid:
        """Run one `scancel` for all these launches (`4711_3`, `4711`); those that are gone already do not fail it.

        Refused where there is no scancel; ValueError for what is not a launch.
        """
        if not native_ids:
            return CommandSaid(0, "", "")
        said = await self._said("scancel", timeout_seconds, native_ids=compressed(native_ids))
        if said.exit_code and only_gone(said.stderr):
            return CommandSaid(0, said.stdout, said.stderr)
        return said

    async def find(
        self, job: Place, batches: Sequence[str], native_ids: Mapping[str, str] | None = None
    ) -> dict[str, Evidence]:
        """Return what the files say about each batch.

        `native_ids` (batch to launch by SLURM) names the output that `runner_log_tail` is taken from.
        """
        known = native_ids or {}

        async def ask(some: Sequence[str]) -> dict[str, Evidence]:
            of_these = {name: known[name] for name in some if name in known}
            request = {**_fields(job), "batches": list(some), "native_ids": of_these}
            return (await self._ask("find", request, answers.FindAnswer)).batches

        return await _in_parts(batches, ask)

    async def revoke(self, job: Place, batches: Sequence[str]) -> dict[str, Revocation]:
        """Claim batches so that nobody runs them from now on, unless a runner was first.

        End strays of dead runners.
        """

        async def ask(some: Sequence[str]) -> dict[str, Revocation]:
            request = {**_fields(job), "batches": list(some)}
            return (await self._ask("revoke", request, answers.RevokeAnswer, long=True)).batches

        return await _in_parts(batches, ask)

    async def cancel(self, job: Place, batches: Sequence[str]) -> dict[str, Cancellation]:
        """Tell the runners of these batches to stop."""

        async def ask(some: Sequence[str]) -> dict[str, Cancellation]:
            request = {**_fields(job), "batches": list(some)}
            return (await self._ask("cancel", request, answers.CancelAnswer)).batches

        return await _in_parts(batches, ask)

    @asynccontextmanager
    async def follow(self, targets: Sequence[FollowTarget]) -> AsyncIterator[AsyncIterator[FollowSeen]]:
        """Yield what changes, until the context is left.

        `async with connection.follow(targets) as seen: async for …`.
        """
        async with self._exchange.call("follow", {"targets": list(targets)}, streams=True) as call:
            await call.answer(self._timeout)
            yield _seen(self._exchange.chunks(call, HEARTBEAT_TIMEOUT_SECONDS), len(targets))

    @asynccontextmanager
    async def read(self, place: Place, offset: int = 0, limit: int | None = None) -> AsyncIterator[ReadStream]:
        """Stream a file: `async with connection.read(place) as stream: stream.size; async for chunk in stream`."""
        request = {**_fields(place), "offset": offset, "limit": limit}
        async with self._exchange.call("read", request, streams=True) as call:
            head = self._decoded(await call.answer(self._timeout), answers.ReadHead)
            yield ReadStream(head.size, head.offset, self._exchange.chunks(call, self._timeout))

    async def read_slice(self, place: Place, offset: int, limit: int) -> FileSlice:
        """Read at most `limit` bytes into memory. NotFound when there is no such file."""
        data = bytearray()
        async with self.read(place, offset, limit) as stream:
            async for chunk in stream:
                data += chunk
                if len(data) > limit:
                    raise PipeLost("the agent sent more than was asked for")
            return FileSlice(stream.size, offset, bytes(data))

    @asynccontextmanager
    async def fetch(self, place: Place, exclude: Sequence[str] = ()) -> AsyncIterator[FetchStream]:
        """Stream a folder's regular files: `async with connection.fetch(place) as files: async for file in files`.

        `exclude` are paths relative to the folder, left out with all below them.
        """
        request = {**_fields(place), "exclude": list(exclude)}
        async with self._exchange.call("fetch", request, streams=True) as call:
            await call.answer(self._timeout)

            async def chunks() -> AsyncIterator[bytes]:
                async for chunk in self._exchange.chunks(call, self._timeout):
                    yield chunk
                stream.end = self._decoded(call.trailer or b"{}", FetchEnd)

            stream = FetchStream(chunks())
            yield stream

    async def remove(self, place: Place) -> Removal:
        """Delete a folder or file with all below it."""
        return await self._ask("remove", _fields(place), Removal, long=True)

    async def measure(self, place: Place) -> Measure:
        """Disk use of a folder."""
        return await self._ask("measure", _fields(place), Measure, long=True)

    async def _ask(self, verb: str, request: dict[str, Any], kind: type[T], *, long: bool = False) -> T:
        return await _ask(self._exchange, verb, request, kind, self._long_timeout if long else self._timeout)

    async def _said(self, verb: str, timeout_seconds: int, **request: object) -> CommandSaid:
        return await slurm_calls.said(self._exchange, verb, request, timeout_seconds, self._timeout)

    def _decoded(self, payload: bytes, kind: type[T]) -> T:
        return _decoded(payload, kind)


async def _ask(exchange: Exchange, verb: str, request: dict[str, Any], kind: type[T], timeout_seconds: float) -> T:
    async with exchange.call(verb, request) as call:
        return _decoded(await call.answer(timeout_seconds), kind)


def _decoded(payload: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Unavailable(f"the agent's answer makes no sense: {error}") from error


def _fields(place: Place) -> dict[str, Any]:
    return {"root": place.root, "path": place.path}


async def _in_parts(batches: Sequence[str], ask: Callable[[Sequence[str]], Awaitable[dict[str, T]]]) -> dict[str, T]:
    """Ask about some batches at a time, fewer where there is much to say about them."""
    answered: dict[str, T] = {}
    waiting = [batches[first : first + _BATCHES_AT_ONCE] for first in range(0, len(batches), _BATCHES_AT_ONCE)]
    while waiting:
        some = waiting.pop()
        try:
            answered |= _for_each(some, await ask(some))
        except TooMuch:
            if len(some) == 1:
                raise
            waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
    return answered


def _for_each(asked: Sequence[str], answered: dict[str, T]) -> dict[str, T]:
    if answered.keys() != set(asked):
        raise Unavailable("the agent answered about other batches than it was asked about")
    return answered


async def _seen(chunks: AsyncIterator[bytes], targets: int) -> AsyncIterator[FollowSeen]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > CHUNK_BYTES:
            raise PipeLost("the agent sent an endless line")
        for line in filter(None, lines):
            seen = _decoded(line, FollowSeen)
            if not 0 <= seen.target < targets:
                raise PipeLost(f"the agent spoke about target {seen.target}, which nobody follows")
            yield seen
    raise Invalid("the agent stopped following")
