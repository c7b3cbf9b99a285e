"""A log that is read from an offset, followed over broken connections."""

import asyncio
from collections.abc import AsyncGenerator

from shared.clients.event_stream import OnOutage, OpensStreams
from shared.clients.retries import pause_seconds
from shared.errors import Unavailable

# A quiet unit writes nothing for hours; TCP alone says whether the server is still there, so look again now and then.
_QUIET_SECONDS = 300.0
_SILENCE_SECONDS = 60.0


async def follow_log(
    stream: OpensStreams, path: str, *, offset: int, limit: int | None, follow: bool, on_outage: OnOutage | None
) -> AsyncGenerator[bytes]:
    """Bytes from `offset`, at most `limit`; with `follow` until the server says that it is all."""
    end = None if limit is None else offset + limit
    repetition = 0
    while True:
        repetition += 1
        left = None if end is None else end - offset
        try:
            async with stream(
                path,
                query={"offset": offset, "limit": left, "follow": follow},
                silence_seconds=_QUIET_SECONDS if follow else _SILENCE_SECONDS,
            ) as answer:
                async for chunk in answer.aiter_bytes():
                    offset, repetition = offset + len(chunk), 0
                    yield chunk
        except Unavailable as error:
            if not follow:
                raise
            if on_outage is not None:
                on_outage(error)
        else:
            return
        await asyncio.sleep(pause_seconds(repetition))
