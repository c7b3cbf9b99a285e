"""The other side of a pipe is a stranger: whatever it sends, the service stays whole, and small."""

import asyncio
import json
import struct
import tarfile
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest

from shared.pipes import AgentConnection, FollowTarget, PipeLost, Place, Refused
from shared.pipes.protocol.frames import ANSWER, DATA, END, ERROR, GRANT, HEAD, encode
from stoker.errors import NotFound, StokerError, Unavailable

pytestmark = pytest.mark.anyio

HELLO = {
    "protocol": 1,
    "version": "1",
    "user": "u",
    "uid": 1,
    "home": "/",
    "host": "h",
    "boot_id": "b",
    "python": "3",
    "clock": 1.0,
    "roots": {"jobs": "/jobs"},
}
PLACE = Place("jobs", "job")


class StrangerPipe:
    """A pipe whose other side answers each request by a function of (verb, request id), with any bytes."""

    def __init__(
        self, answer: Callable[[str, int], AsyncIterator[bytes]], greeting: bytes = b"STOKER-AGENT 1 ab\n"
    ) -> None:
        self._answer = answer
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(maxsize=4)
        self._outgoing.put_nowait(greeting)
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False

    async def read(self) -> bytes:
        return b"" if self.closed else await self._outgoing.get()

    async def write(self, data: bytes) -> None:
        length, kind, request = HEAD.unpack_from(data)
        if chr(kind) == "Q":
            verb = json.loads(data[HEAD.size : HEAD.size + length])["verb"]
            self._tasks.append(asyncio.create_task(self._say(verb, request)))

    async def _say(self, verb: str, request: int) -> None:
        if verb == "hello":
            await self._outgoing.put(encode(ANSWER, request, json.dumps(HELLO).encode()))
            return
        async for data in self._answer(verb, request):
            await self._outgoing.put(data)

    async def close(self) -> None:
        self.closed = True
        for task in self._tasks:
            task.cancel()
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
        self._outgoing.put_nowait(b"")

    async def diagnosis(self) -> str:
        return "said on standard error"


def always(*pieces: bytes, forever: bool = False) -> Callable[[str, int], AsyncIterator[bytes]]:
    async def answer(_verb: str, _request: int) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        while forever:
            for piece in pieces:
                yield piece

    return answer


def framed(kind: int, payload: bytes, request: int = 2) -> bytes:
    return encode(kind, request, payload)


async def opened(pipe: StrangerPipe, timeout: float = 2) -> AgentConnection:
    return await AgentConnection.open(pipe, {"jobs": "/jobs"}, answer_timeout_seconds=timeout)


HEAD_OF_STREAM = framed(ANSWER, b'{"size": 10, "offset": 0}')

STRANGE = {
    "over-long frame": always(struct.pack("!IBI", 2**31, ANSWER, 2)),
    "over-long data": always(HEAD_OF_STREAM, struct.pack("!IBI", 70_000, DATA, 2)),
    "unknown kind": always(framed(ord("Z"), b"")),
    "a request from the agent": always(framed(ord("Q"), b"{}")),
    "unknown id": always(framed(ANSWER, b"{}", request=99)),
    "id of the future": always(framed(GRANT, b"\0\0\0\1", request=99)),
    "answer twice": always(framed(ANSWER, b"{}"), framed(ANSWER, b"{}")),
    "data before the head": always(framed(DATA, b"x")),
    "data without credit": always(HEAD_OF_STREAM, framed(DATA, bytes(60_000)), forever=True),
    "end of no stream": always(framed(END, b"")),
    "deep json": always(framed(ANSWER, b"[" * 500_000 + b"]" * 500_000)),
    "deep error": always(framed(ERROR, b'{"kind":' + b"[" * 400_000)),
    "not json": always(framed(ANSWER, b"\xff\xfe")),
    "wrong types": always(framed(ANSWER, b'{"size": "ten", "offset": []}')),
    "garbage": always(b"\x00" * 100_000),
    "end of file": always(b""),
    "half a frame, then the end": always(framed(ANSWER, b"{}")[:7], b""),
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE.keys())
async def test_what_is_not_the_protocol_is_refused(answer: Callable[[str, int], AsyncIterator[bytes]]) -> None:
    agent = await opened(StrangerPipe(answer))
    with pytest.raises(Unavailable):
        async with agent.read(PLACE) as stream:
            async for _ in stream:
                await asyncio.sleep(0.01)
    await agent.close()


async def test_a_flood_of_data_is_refused_before_it_fills_the_memory() -> None:
    agent = await opened(StrangerPipe(always(HEAD_OF_STREAM, *[framed(DATA, bytes(64_000))] * 500)))
    tracemalloc.start()
    try:
        with pytest.raises(PipeLost):
            async with agent.read(PLACE) as stream:
                await asyncio.sleep(0.2)
                async for _ in stream:
                    pass
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    await agent.close()


async def test_other_calls_learn_at_once_that_the_pipe_is_lost() -> None:
    async def answer(verb: str, _request: int) -> AsyncIterator[bytes]:
        if verb == "measure":
            yield b"\xff" * 100

    agent = await opened(StrangerPipe(answer), timeout=30)
    waiting = [asyncio.create_task(agent.find(PLACE, ["00000"])) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(PipeLost):
        await agent.measure(PLACE)
    async with asyncio.timeout(25):
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, PipeLost)
            assert "said on standard error" in outcome.message
    assert agent.lost
    with pytest.raises(PipeLost):
        await agent.measure(PLACE)
    await agent.close()


async def test_an_agent_that_never_answers_is_given_up_after_the_time_limit() -> None:
    agent = await opened(StrangerPipe(always()), timeout=0.2)
    with pytest.raises(Unavailable, match=r"has not answered for 0\.2 seconds"):
        await agent.find(PLACE, ["00000"])
    assert agent.lost == "the agent is silent"
    await agent.close()


async def test_answers_about_other_batches_are_refused() -> None:
    agent = await opened(StrangerPipe(always(framed(ANSWER, b'{"batches": {"00007": {"exists": true}}}'))))
    with pytest.raises(Unavailable, match="other batches"):
        await agent.find(PLACE, ["00000"])
    await agent.close()


async def test_observations_of_targets_that_nobody_follows_are_refused() -> None:
    seen = b'{"target":5,"exists":true,"events_length":0,"results_length":0,"ended":false,"alive":null}\n'
    agent = await opened(StrangerPipe(always(framed(ANSWER, b"{}"), framed(DATA, seen))))
    with pytest.raises(PipeLost):
        async with agent.follow([FollowTarget(root="jobs", path="job")]) as observations:
            await anext(observations)
    await agent.close()


async def test_a_banner_before_the_first_line_is_skipped() -> None:
    banner = b"Welcome!\nYou have mail.\n\xff\xfe" + b"x" * 100_000 + b"\n"
    agent = await opened(StrangerPipe(always(), greeting=banner + b"STOKER-AGENT 1 ab\n"))
    assert agent.hello.user == "u"
    await agent.close()


@pytest.mark.parametrize("greeting", [b"x" * 2_000_000, b"line\n" * 300_000, b"hello\n", b""])
async def test_whoever_never_greets_is_no_agent(greeting: bytes) -> None:
    pipe = StrangerPipe(always(), greeting=greeting)
    with pytest.raises(Unavailable):
        await opened(pipe, timeout=0.3)
    assert pipe.closed


@pytest.mark.parametrize(
    ("kind", "error"),
    [("not_found", NotFound), ("refused", Refused), ("internal", Unavailable), ("new", Unavailable)],
)
async def test_errors_are_translated(kind: str, error: type[StokerError]) -> None:
    payload = json.dumps({"kind": kind, "message": "why", "code": "ENOSPC"}).encode()
    agent = await opened(StrangerPipe(always(framed(ERROR, payload))))
    with pytest.raises(error, match="why"):
        await agent.measure(PLACE)
    assert agent.lost is None
    await agent.close()


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../b", ""])
async def test_names_in_a_fetched_archive_cannot_lead_out(name: str) -> None:
    head = tarfile.TarInfo(name or "x")
    head.name = name
    data = head.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    agent = await opened(StrangerPipe(always(framed(ANSWER, b"{}"), framed(DATA, data), framed(END, b""))))
    with pytest.raises(PipeLost):
        async with agent.fetch(PLACE) as files:
            async for _ in files:
                pass
    await agent.close()
