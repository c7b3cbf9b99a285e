"""Many requests on one pipe.

Sends them, hands frames to the calls that they belong to, and knows when all is lost.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec

from shared.pipes.errors import NoAnswer, PipeLost
from shared.pipes.pipe import Pipe, with_last_words
from shared.pipes.protocol.calls import Call
from shared.pipes.protocol.frames import (
    ABORT,
    ANSWER,
    CHUNK_BYTES,
    CREDIT,
    DATA,
    END,
    ERROR,
    FIRST_CREDIT_BYTES,
    GRANT,
    LARGEST_JSON_BYTES,
    REQUEST,
    FrameParser,
    GreetingFinder,
    encode,
)
from shared.pipes.protocol.windows import StreamWindow
from stoker.errors import StokerError, Unavailable

# Until one was seen. The first is that of the hello.
_LONGEST_ROUND_TRIP_SECONDS = 1.0


class Exchange:
    """`lost` says why nothing works any more. `idle_since` (monotonic) is None while requests are in flight."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._calls: dict[int, Call] = {}
        self._last = 0
        self._writing = asyncio.Lock()
        self._heard_at = time.monotonic()
        self._reader: asyncio.Task[None] | None = None
        self._window_bytes = FIRST_CREDIT_BYTES
        self._round_trip_seconds = _LONGEST_ROUND_TRIP_SECONDS
        self.lost: str | None = None
        self.idle_since: float | None = time.monotonic()

    async def greet(self, timeout_seconds: float) -> None:
        """Wait for the agent's first line, then read frames in the background."""
        finder = GreetingFinder()
        try:
            async with asyncio.timeout(timeout_seconds):
                data = b"-"
                while data and (found := finder.feed(data := await self._pipe.read())) is None:
                    pass
        except TimeoutError:
            message = f"no agent has spoken in {timeout_seconds:g} seconds"
            raise PipeLost(await with_last_words(message, self._pipe)) from None
        if found is None:
            raise PipeLost(await with_last_words("the pipe ended before an agent spoke", self._pipe))
        self._reader = asyncio.create_task(self._read(found[1]))

    async def close(self) -> None:
        """End the agent; pending calls raise."""
        self._lose("the connection was closed")
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._pipe.close()

    @contextlib.asynccontextmanager
    async def call(self, verb: str, arguments: dict[str, object], *, streams: bool = False) -> AsyncIterator[Call]:
        """Send a request; whatever is left of it when the context is left is given up."""
        if self.lost is not None:
            raise PipeLost(self.lost)
        payload = msgspec.json.encode({"verb": verb, **arguments})
        if len(payload) > LARGEST_JSON_BYTES:
            raise PipeLost(f"a request of {len(payload):,} bytes is too large")
        self._last += 1
        first_grant = self._window_bytes - FIRST_CREDIT_BYTES if streams else 0
        call = self._calls[self._last] = Call(self._last, streams=streams, first_grant=first_grant)
        self.idle_since = None
        began = time.monotonic()
        try:
            grant = encode(GRANT, call.request, CREDIT.pack(first_grant)) if first_grant else b""
            await self._send(encode(REQUEST, call.request, payload) + grant)
            yield call
        except NoAnswer:
            # A request that got no answer while the pipe was silent altogether: the pipe is what is broken. What else
            # may be unavailable while a request is put together (a database) says nothing of the pipe.
            if not call.over and self._heard_at < began:
                self._lose("the agent is silent")
            raise
        finally:
            await self._leave(call)

    async def send_data(self, call: Call, data: bytes, timeout_seconds: float) -> bool:
        """Send a piece of an outgoing stream as there is credit; False when the agent wants no more."""
        view = memoryview(data)
        while view:
            room = await call.room(timeout_seconds)
            if room == 0:
                return False
            piece = view[: min(room, CHUNK_BYTES)]
            call.credit -= len(piece)
            await self._send(encode(DATA, call.request, bytes(piece)))
            view = view[len(piece) :]
        return True

    async def send_end(self, call: Call) -> None:
        """The outgoing stream is complete."""
        await self._send(encode(END, call.request))

    async def chunks(self, call: Call, timeout_seconds: float) -> AsyncIterator[bytes]:
        """Yield the stream; what was taken is granted again."""
        window = StreamWindow(FIRST_CREDIT_BYTES + call.first_grant, self._round_trip_seconds)
        while chunk := await call.chunk(timeout_seconds):
            yield chunk
            if (count := window.take(len(chunk), time.monotonic())) and not call.over:
                call.grant(count)
                await self._send(encode(GRANT, call.request, CREDIT.pack(count)))
        # What one stream has learned of the line, the next one begins with.
        self._window_bytes = window.size

    async def _leave(self, call: Call) -> None:
        if call.over:
            self._forget(call)
            return
        call.given_up = True
        with contextlib.suppress(StokerError):
            await self._send(encode(ABORT, call.request))

    def _forget(self, call: Call) -> None:
        self._calls.pop(call.request, None)
        if not self._calls:
            self.idle_since = time.monotonic()

    async def _send(self, frame: bytes) -> None:
        if self.lost is not None:
            raise PipeLost(self.lost)
        try:
            async with self._writing:
                await self._pipe.write(frame)
        except Unavailable as error:
            why = await with_last_words(error.message, self._pipe)
            self._lose(why)
            raise PipeLost(why) from error

    async def _read(self, data: bytes) -> None:
        parser = FrameParser()
        try:
            while True:
                for kind, request, payload in parser.feed(data):
                    self._take(kind, request, payload)
                data = await self._pipe.read()
                if not data:
                    raise PipeLost("the pipe was closed by the other side")  # noqa: TRY301 - one way out
                self._heard_at = time.monotonic()
        except StokerError as error:
            self._lose(await with_last_words(error.message, self._pipe))
        except Exception as error:  # noqa: BLE001 - whoever waits has to learn of it
            self._lose(f"reading from the pipe failed: {error!r}")
        await self._pipe.close()

    def _take(self, kind: int, request: int, payload: bytes) -> None:
        call = self._calls.get(request)
        if call is None:
            if kind == GRANT and 0 < request <= self._last:
                return  # credit for a request that has been answered meanwhile
            raise PipeLost(f"the agent spoke about request {request}, which nobody made")
        if call.over:
            raise PipeLost(f"the agent went on about request {request} after its end")
        if kind == ANSWER:
            call.on_answer(payload)
            self._round_trip_seconds = min(self._round_trip_seconds, time.monotonic() - call.asked_at)
        elif kind == ERROR:
            call.on_error(payload)
        elif kind == DATA:
            call.on_data(payload)
        elif kind == END:
            call.on_end(payload)
        elif kind == GRANT:
            call.on_credit(CREDIT.unpack(payload)[0])
        if call.over and call.given_up:
            self._forget(call)

    def _lose(self, why: str) -> None:
        if self.lost is not None:
            return
        self.lost = why
        for call in tuple(self._calls.values()):
            call.fail(PipeLost(why))
            if call.given_up:
                self._forget(call)
