"""`/v1/jobs/{id}/units`: units and their logs."""

import asyncio
from typing import Annotated

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from services.executor.controllers.answers import CallerRequest, answer, streams
from services.executor.controllers.services import Services
from services.executor.outputs.unit_log import Wanted
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from stoker.contracts.jobs import Attempt, Unit, UnitState
from stoker.contracts.pages import Page

LARGEST = 2**53

Follow = Annotated[bool, QueryParameter(description="wait for what is yet to come, until it ends")]


class UnitsController(Controller):
    """`/v1/jobs/{job_id}/units`."""

    path = "/v1/jobs/{job_id:str}/units"
    tags = ("units",)

    @get("/", summary="List a job's units, in order")
    async def list_units(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        job_id: FromPath[str],
        of_state: Annotated[UnitState | None, QueryParameter(name="state")] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response[Page[Unit]]:
        """Arguments, outcome, reason, times, peak memory and CPU time of each."""
        found = await services.jobs.catalogue.units(
            request.user, job_id, state=of_state, after=decode_cursor(cursor, int), limit=limit
        )
        return answer(page(*found))

    @get("/{index:int}", summary="Read a unit")
    async def read(
        self, request: CallerRequest, services: NamedDependency[Services], job_id: FromPath[str], index: FromPath[int]
    ) -> Response[Unit]:
        """One unit with its latest attempt."""
        return answer(await services.jobs.catalogue.unit(request.user, job_id, index))

    @get("/{index:int}/attempts", summary="List the earlier attempts of a unit")
    async def attempts(
        self, request: CallerRequest, services: NamedDependency[Services], job_id: FromPath[str], index: FromPath[int]
    ) -> Response[list[Attempt]]:
        """How each ended that another one followed, in order. The latest attempt is the unit itself."""
        return answer(await services.jobs.catalogue.attempts(request.user, job_id, index))

    @get(
        "/{index:int}/log",
        summary="Read a unit's log",
        responses=streams("application/octet-stream", "the bytes that the unit wrote, exactly as they are"),
    )
    async def log(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        stopping: NamedDependency[asyncio.Event],
        job_id: FromPath[str],
        index: FromPath[int],
        offset: Annotated[int, QueryParameter(ge=0, le=LARGEST, description="first byte to read")] = 0,
        limit: Annotated[int | None, QueryParameter(ge=0, le=LARGEST, description="bytes to read at most")] = None,
        follow: Follow = False,  # noqa: FBT002 - a query parameter
    ) -> Stream:
        """Standard output and error of the unit. `Stoker-Log-Size` is the log's length when the answer begins."""
        wanted = Wanted(offset=offset, limit=limit, follow=follow)
        size, chunks = await services.outputs.unit_logs.open(request.user, job_id, index, wanted, stopping)
        return Stream(chunks, media_type="application/octet-stream", headers={"Stoker-Log-Size": str(size)})
