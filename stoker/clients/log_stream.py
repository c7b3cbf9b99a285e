"""A log that is read from an offset, followed over broken connections."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from stoker.clients.event_stream import OnOutage, OpensStreams
from stoker.clients.retries import pause_seconds
from stoker.errors import Unavailable

# A quiet unit writes nothing for hours; TCP alone says whether the server is still there, so look again now and then.
_QUIET_SECONDS = 300.0
_SILENCE_SECONDS = 60.0


async def read_log(
    stream: OpensStreams, path: str, *, offset: int, limit: int | None, follow: bool = False
) -> AsyncGenerator[bytes]:
    """Bytes from `offset`, at most `limit`, as one connection gives them."""
    async with stream(
        path,
        query={"offset": offset, "limit": limit, "follow": follow},
        silence_seconds=_QUIET_SECONDS if follow else _SILENCE_SECONDS,
    ) as answer:
        async for chunk in answer.aiter_bytes():
            yield chunk


async def follow_log(
    stream: OpensStreams,
    path: str,
    *,
    offset: int,
    limit: int | None,
    has_ended: Callable[[], Awaitable[bool]],
    on_outage: OnOutage | None,
) -> AsyncGenerator[bytes]:
    """Bytes from `offset`, at most `limit`, until `has_ended()` and all is read.

    The end of an answer alone proves nothing: a service that stops ends its answers too.
    """
    end = None if limit is None else offset + limit
    repetition, ended = 0, False
    while True:
        repetition += 1
        left = None if end is None else end - offset
        try:
            async with aclosing(read_log(stream, path, offset=offset, limit=left, follow=not ended)) as chunks:
                async for chunk in chunks:
                    offset, repetition = offset + len(chunk), 0
                    yield chunk
            if ended or offset == end:
                return
            ended = await has_ended()
        except Unavailable as error:
            if on_outage is not None:
                on_outage(error)
            await asyncio.sleep(pause_seconds(repetition))
        else:
            if not ended:
                await asyncio.sleep(pause_seconds(repetition))
