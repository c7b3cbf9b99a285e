"""A request in flight, on the service's side: its answer, its streams and their credit."""

import asyncio
import time
from collections import deque

import msgspec

from shared.pipes.errors import NoAnswer, PipeLost, Refused, TooMuch, WrongVersion
from shared.pipes.protocol.answers import AgentError
from shared.pipes.protocol.frames import FIRST_CREDIT_BYTES
from stoker.errors import Invalid, NotFound, StokerError, Unavailable

_ERROR = msgspec.json.Decoder(AgentError)


class Call:
    """`streams`: the answer is only the head, data and an end follow; `first_grant` goes out with the request.

    Changed by the reader, waited on by one caller.
    """

    def __init__(self, request: int, *, streams: bool, first_grant: int = 0) -> None:
        self.request = request
        self.asked_at = time.monotonic()
        self.streams = streams
        self.head: bytes | None = None
        self.trailer: bytes | None = None
        self.over = False
        self.given_up = False
        self.credit = FIRST_CREDIT_BYTES
        self._chunks: deque[bytes] = deque()
        self.first_grant = first_grant
        self._allowed = FIRST_CREDIT_BYTES + first_grant
        self._error: StokerError | None = None
        self._changed = asyncio.Event()

    def on_answer(self, payload: bytes) -> None:
        """The answer, or the head of a stream."""
        if self.head is not None:
            raise PipeLost("the agent answered a request twice")
        self.head = payload
        self.over = not self.streams
        self._changed.set()

    def on_error(self, payload: bytes) -> None:
        """The request failed."""
        self.fail(_translated(payload))

    def on_data(self, payload: bytes) -> None:
        """A piece of the stream; more than was asked for is a breach."""
        self._allowed -= len(payload)
        if self._allowed < 0 or self.head is None or not self.streams:
            raise PipeLost("the agent sent data that nobody had asked for")
        if not self.given_up:
            self._chunks.append(payload)
            self._changed.set()

    def on_end(self, payload: bytes) -> None:
        """End of the stream."""
        if self.head is None or not self.streams:
            raise PipeLost("the agent ended a stream that does not exist")
        self.trailer = payload
        self.over = True
        self._changed.set()

    def on_credit(self, count: int) -> None:
        """The agent can take more."""
        self.credit = min(self.credit + count, FIRST_CREDIT_BYTES)
        self._changed.set()

    def fail(self, error: StokerError) -> None:
        """No answer will come."""
        self._error = self._error or error
        self.over = True
        self._changed.set()

    def grant(self, count: int) -> None:
        """The consumer has taken so much."""
        self._allowed += count

    async def answer(self, timeout_seconds: float) -> bytes:
        """Wait for the answer."""
        while self.head is None:
            await self._wait(timeout_seconds)
        return self.head

    async def chunk(self, timeout_seconds: float) -> bytes:
        """Wait for the next piece of the stream, b"" at its end."""
        while not self._chunks:
            if self.trailer is not None:
                return b""
            await self._wait(timeout_seconds)
        return self._chunks.popleft()

    async def room(self, timeout_seconds: float) -> int:
        """Wait until the agent can take data; 0 when it wants no more because it has answered."""
        while self.credit <= 0 and self.head is None:
            await self._wait(timeout_seconds)
        if self._error is not None:
            raise self._error
        return 0 if self.head is not None else self.credit

    async def _wait(self, timeout_seconds: float) -> None:
        if self._error is not None:
            raise self._error
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()
        except TimeoutError:
            raise NoAnswer(f"the agent has not answered for {timeout_seconds:g} seconds") from None


def _translated(payload: bytes) -> StokerError:
    try:
        error = _ERROR.decode(payload)
    except (msgspec.MsgspecError, RecursionError) as failure:
        raise PipeLost(f"the agent sent an error that makes no sense: {failure}") from failure
    if error.kind == "not_found":
        return NotFound(error.message)
    if error.kind == "refused":
        return Refused(error.message, error.code)
    if error.code == "PROTOCOL":
        return WrongVersion(
            f"the agent there is of another version of Stoker ({error.message}); where it is installed, mend it as "
            "root with: stoker agent > ITS_FILE"
        )
    if error.kind == "invalid":
        # An agent of an earlier version says so in words only.
        too_much = error.code == "E2BIG" or error.message.startswith("the answer would be too large")
        return TooMuch(error.message) if too_much else Invalid(error.message)
    return Unavailable(error.message)
