"""`/v1/events`: the stream of job events, as Server-Sent Events."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from services.executor.controllers.answers import CallerRequest, streams
from services.executor.controllers.services import Services
from services.executor.events import EventStream

_COMMENT_SECONDS = 15.0
# Then the client connects again, and its key is looked at again.
_LONGEST_SECONDS = 3600.0
_LARGEST = 2**53


class EventsController(Controller):
    """`/v1/events`."""

    path = "/v1/events"
    tags = ("events",)

    @get(
        "/",
        summary="Follow job events",
        opt={"more_problems": (404,)},
        responses=streams(
            "text/event-stream", "Server-Sent Events: `id` position, `event` type, `data` a `JobEvent`"
        ),
    )
    async def follow(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        stopping: NamedDependency[asyncio.Event],
        job_id: Annotated[str | None, QueryParameter(max_length=200, description="only of this job")] = None,
        after: Annotated[
            int | None, QueryParameter(ge=0, le=_LARGEST, description="only what comes behind this position")
        ] = None,
        last_event_id: Annotated[
            int | None,
            HeaderParameter(
                name="Last-Event-ID", ge=0, le=_LARGEST, description="the same, as clients send it; goes before"
            ),
        ] = None,
    ) -> Stream:
        """Without a position: of one job all its events, else those from now on. None is left out or comes twice."""
        if job_id is not None:
            await services.jobs.catalogue.stored(request.user, job_id)
        position = last_event_id if last_event_id is not None else after
        if position is None:
            position = 0 if job_id is not None else await services.events.last_position()
        owner = request.user.owner if request.user.role == "user" else None
        chunks = _follow(services.events, position, owner, job_id, stopping)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return Stream(chunks, media_type="text/event-stream", headers=headers)


async def _follow(
    stream: EventStream, after: int, owner: str | None, job_id: str | None, stopping: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    until = time.monotonic() + _LONGEST_SECONDS
    # Something at once, so that the client knows that it is connected.
    yield b": connected\n\n"
    with stream.reader(after=after, owner=owner, job_id=job_id) as reader:
        while time.monotonic() < until and not stopping.is_set():
            if found := await reader.more():
                yield b"".join(told.written for told in found)
            elif not await reader.wait(_COMMENT_SECONDS, stopping):
                yield b": still here\n\n"
