"""The stream of job events, unbroken over broken connections."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import httpx
import msgspec

from stoker.clients.lines import lines
from stoker.clients.retries import pause_seconds
from stoker.clients.sse import EventParser
from stoker.contracts.events import JobEvent
from stoker.errors import Unavailable

# The server sends a comment line every fifteen seconds: three missed ones mean a dead connection.
_SILENCE_SECONDS = 45.0

_decoder = msgspec.json.Decoder(JobEvent)

OnOutage = Callable[[Unavailable], None]


class OpensStreams(Protocol):
    """`ServiceClient._stream`."""

    def __call__(
        self,
        path: str,
        *,
        query: dict[str, str | int | bool | None] | None = None,
        headers: dict[str, str] | None = None,
        silence_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Open an answer of any length."""


async def follow_events(
    stream: OpensStreams, *, job_id: str | None, after: int, on_outage: OnOutage | None
) -> AsyncGenerator[JobEvent]:
    """Events with a position above `after`, for ever; see `ExecutorClient.events`."""
    position, repetition = after, 0
    while True:
        repetition += 1
        wanted_seconds: float | None = None
        try:
            async with aclosing(_connection(stream, job_id, position)) as events:
                async for event in events:
                    if event.position > position:
                        position, repetition = event.position, 0
                        yield event
        except Unavailable as error:
            wanted_seconds = error.retry_after_seconds
            if on_outage is not None:
                on_outage(error)
        await asyncio.sleep(pause_seconds(repetition, wanted_seconds))


async def _connection(stream: OpensStreams, job_id: str | None, position: int) -> AsyncGenerator[JobEvent]:
    parser = EventParser()
    async with stream(
        "/v1/events",
        query={"job_id": job_id, "after": position},
        headers={"Accept": "text/event-stream", "Last-Event-ID": str(position)},
        silence_seconds=_SILENCE_SECONDS,
    ) as answer:
        async for line in lines(answer.aiter_bytes()):
            event = parser.line(line.decode(errors="replace"))
            if event is not None:
                yield _decoded(event.data)


def _decoded(data: str) -> JobEvent:
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Unavailable(f"an event is not understood: {error}") from error
