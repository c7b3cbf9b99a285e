"""`/v1/activities` and `/v1/tasks`."""

import asyncio
from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from services.executor.controllers.answers import CallerRequest, answer, streams
from services.executor.controllers.jobs import Filter
from services.executor.controllers.services import Services
from services.executor.controllers.units import LARGEST, Follow
from services.executor.outputs.unit_log import Wanted
from services.executor.repositories.environments import TaskFilter
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from stoker.contracts.environments import Activity
from stoker.contracts.pages import Page
from stoker.contracts.tasks import Task, TaskType


@get("/v1/tasks", tags=["tasks"], summary="List the tasks of all environments")
async def list_tasks(
    request: CallerRequest,
    services: NamedDependency[Services],
    search: Annotated[
        str | None,
        QueryParameter(max_length=200, description="words, all of which must occur in its name or description"),
    ] = None,
    of_type: Annotated[TaskType | None, QueryParameter(name="type")] = None,
    environment_id: Filter = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response[Page[Task]]:
    """Of those that the caller may see, also of environments that are inactive."""
    wanted = TaskFilter(environment_id=environment_id, type=of_type, search=search)
    after = decode_cursor(cursor, str)
    return answer(
        page(*await services.environments.catalogue.tasks(request.user, wanted, after_id=after, limit=limit))
    )


class ActivitiesController(Controller):
    """`/v1/activities/{activity_id}`."""

    path = "/v1/activities/{activity_id:str}"
    tags = ("environments",)

    @get("/", summary="Read an activity")
    async def read(
        self, request: CallerRequest, services: NamedDependency[Services], activity_id: FromPath[str]
    ) -> Response[Activity]:
        """Also one of an environment that is gone."""
        return answer(await services.environments.catalogue.activity(request.user, activity_id))

    @get(
        "/log",
        summary="Read an activity's log",
        responses=streams("application/octet-stream", "each command and its output, as it comes"),
    )
    async def log(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        stopping: NamedDependency[asyncio.Event],
        activity_id: FromPath[str],
        offset: Annotated[int, QueryParameter(ge=0, le=LARGEST, description="first byte to read")] = 0,
        limit: Annotated[int | None, QueryParameter(ge=0, le=LARGEST, description="bytes to read at most")] = None,
        follow: Follow = False,  # noqa: FBT002 - a query parameter
    ) -> Stream:
        """`Stoker-Log-Size` is the log's length when the answer begins."""
        wanted = Wanted(offset=offset, limit=limit, follow=follow)
        size, chunks = await services.environments.activities.log(request.user, activity_id, wanted, stopping)
        return Stream(chunks, media_type="application/octet-stream", headers={"Stoker-Log-Size": str(size)})

    @post("/cancel", status_code=202, opt={"more_problems": (403, 409)}, summary="Cancel an activity")
    async def cancel(
        self, request: CallerRequest, services: NamedDependency[Services], activity_id: FromPath[str]
    ) -> Response[Activity]:
        """What was begun and not finished is never ready; nothing is left of a creation. Repeating is fine."""
        return answer(await services.environments.activities.cancel(request.user, activity_id))
