"""`/v1/jobs/{id}/log`, `…/results`, `…/archive`: all of a job in one stream."""

import asyncio

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from services.executor.controllers.answers import CallerRequest, streams
from services.executor.controllers.services import Services
from services.executor.controllers.units import Follow
from services.executor.outputs.results import result_lines


class DownloadsController(Controller):
    """`/v1/jobs/{job_id}`."""

    path = "/v1/jobs/{job_id:str}"
    tags = ("jobs",)

    @get(
        "/log",
        summary="Read the logs of all units",
        responses=streams("application/octet-stream", "the logs of all slots, each part under a line that names it"),
    )
    async def log(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        stopping: NamedDependency[asyncio.Event],
        job_id: FromPath[str],
        follow: Follow = False,  # noqa: FBT002 - a query parameter
    ) -> Stream:
        """In no promised order between slots; within a slot in the order in which it was written."""
        chunks = await services.outputs.job_logs.open(request.user, job_id, follow=follow, stopping=stopping)
        return Stream(chunks, media_type="application/octet-stream")

    @get(
        "/results",
        summary="Read the results of all units",
        responses=streams("application/jsonl", "one `UnitResult` a line, in the order of the units"),
    )
    async def results(
        self, request: CallerRequest, services: NamedDependency[Services], job_id: FromPath[str]
    ) -> Stream:
        """Also of units that have not ended: their state says so."""
        await services.jobs.catalogue.stored(request.user, job_id)
        return Stream(result_lines(services.database, job_id), media_type="application/jsonl")

    @get(
        "/archive",
        summary="Download the job's folder as a zip",
        responses=streams("application/zip", "the folder, `results.jsonl` and `job.json`, under the job's id"),
    )
    async def archive(
        self, request: CallerRequest, services: NamedDependency[Services], job_id: FromPath[str]
    ) -> Stream:
        """Made while it is sent, of any size; what cannot be in it (links, sockets) is listed in `left-out.txt`."""
        job = await services.jobs.catalogue.stored(request.user, job_id)
        source = await services.jobs.catalogue.source(request.user, job_id)
        headers = {"Content-Disposition": f'attachment; filename="{job_id}.zip"'}
        return Stream(await services.outputs.archive.open(job, source), media_type="application/zip", headers=headers)
