"""`/v1/jobs`: submitting, planning, reading, cancelling, running again, removing."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, QueryParameter, RawBody

from services.executor.controllers.answers import CallerRequest, answer
from services.executor.controllers.services import Services
from services.executor.model.requests import Request as Submission
from services.executor.model.requests import sha256_of
from services.executor.repositories.jobs import JobFilter
from shared.service.web.bodies.content_types import accepts
from shared.service.web.bodies.decoding import LongList, read_body
from shared.service.web.bodies.large import off_the_loop
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page
from stoker.contracts.jobs import MAX_UNITS, Batch, Job, JobState, JobSubmit, Plan
from stoker.contracts.pages import Page
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

UNITS = LongList("units", MAX_UNITS)

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="makes a repeated call (same access key, same body) answer with the same job",
    ),
]
Filter = Annotated[str | None, QueryParameter(max_length=200)]
# Text, because a number would be taken for seconds.
Moment = Annotated[
    str | None, QueryParameter(format="date-time", description="with a time zone: 2026-01-31T12:00:00Z")
]


class JobsController(Controller):
    """`/v1/jobs`."""

    path = "/v1/jobs"
    tags = ("jobs",)

    @post("/", status_code=202, opt=accepts(JobSubmit) | {"more_problems": (403, 404)}, summary="Submit a job")
    async def submit(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        body: RawBody,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Job]:
        """The job is stored when this answers; it is run as soon as its resource takes it."""
        submission = Submission(
            caller=request.user,
            body_sha256=await off_the_loop(len(body), sha256_of, body),
            idempotency_key=checked_key(idempotency_key),
        )
        wanted = await read_body(body, JobSubmit, long_list=UNITS)
        job = await services.jobs.admission.submit(submission, wanted)
        return answer(job, location=f"/v1/jobs/{job.id}")

    @post(
        "/plan",
        status_code=200,
        opt=accepts(JobSubmit) | {"more_problems": (403, 404)},
        summary="See what submitting would do",
    )
    async def plan(
        self, request: CallerRequest, services: NamedDependency[Services], body: RawBody
    ) -> Response[Plan]:
        """The same checks and the same batches as a submit call, and nothing is stored."""
        return answer(await services.jobs.plans.plan(request.user, await read_body(body, JobSubmit, long_list=UNITS)))

    @get("/", summary="List jobs, the newest first")
    async def list_jobs(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        of_state: Annotated[JobState | None, QueryParameter(name="state")] = None,
        profile_id: Filter = None,
        resource_id: Filter = None,
        name: Filter = None,
        created_after: Moment = None,
        created_before: Moment = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response[Page[Job]]:
        """Jobs of the caller's owner; an administrator sees all."""
        wanted = JobFilter(
            state=of_state,
            profile_id=profile_id,
            resource_id=resource_id,
            name=name,
            created_after=_seconds("created_after", created_after),
            created_before=_seconds("created_before", created_before),
        )
        found = await services.jobs.catalogue.jobs(
            request.user, wanted, before_id=decode_cursor(cursor, str), limit=limit
        )
        return answer(page(*found))

    @get("/{job_id:str}", summary="Read a job")
    async def read(
        self, request: CallerRequest, services: NamedDependency[Services], job_id: FromPath[str]
    ) -> Response[Job]:
        """State, counts of its units, and what it waits for."""
        return answer(await services.jobs.catalogue.job(request.user, job_id))

    @delete(
        "/{job_id:str}",
        status_code=204,
        opt={"more_problems": (403,)},
        summary="Remove a job that has ended, with its folder",
    )
    async def remove(
        self, request: CallerRequest, services: NamedDependency[Services], job_id: FromPath[str]
    ) -> None:
        """Jobs that have ended are also removed by themselves when their retention is over."""
        await services.jobs.removal.delete(request.user, job_id)

    @post("/{job_id:str}/cancel", status_code=202, opt={"more_problems": (403, 409)}, summary="Cancel a job")
    async def cancel(
        self, request: CallerRequest, services: NamedDependency[Services], job_id: FromPath[str]
    ) -> Response[Job]:
        """Nothing more is started and what runs is ended; what has ended keeps its results. Repeating is fine."""
        return answer(await services.jobs.cancellation.cancel(request.user, job_id))

    @post(
        "/{job_id:str}/rerun",
        status_code=202,
        opt={"more_problems": (403, 409)},
        summary="Run a job again as a new one",
    )
    async def rerun(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        job_id: FromPath[str],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Job]:
        """The same command, units and files, on the profile as it is now."""
        submission = Submission(
            caller=request.user,
            body_sha256=sha256_of(f"rerun {job_id}".encode()),
            idempotency_key=checked_key(idempotency_key),
        )
        job = await services.jobs.admission.rerun(submission, job_id)
        return answer(job, location=f"/v1/jobs/{job.id}")

    @get("/{job_id:str}/batches", summary="List a job's batches, in order")
    async def batches(
        self,
        request: CallerRequest,
        services: NamedDependency[Services],
        job_id: FromPath[str],
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response[Page[Batch]]:
        """Each batch is run by one runner."""
        after = decode_cursor(cursor, int)
        return answer(page(*await services.jobs.catalogue.batches(request.user, job_id, after=after, limit=limit)))


def _seconds(name: str, moment: str | None) -> float | None:
    """Epoch seconds of an RFC 3339 time."""
    if moment is None:
        return None
    try:
        found: datetime = msgspec.convert(moment, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        message = "must be a time with its zone, such as 2026-01-31T12:00:00Z"
        raise Invalid("A parameter is not valid", [FieldError(f"query.{name}", message)]) from None
    return found.timestamp()


def checked_key(key: str | None) -> str | None:
    """The idempotency key, if every database can store it."""
    if key is not None and not (key.isascii() and key.isprintable()):
        message = "must be 1 to 255 printable ASCII characters"
        raise Invalid("The idempotency key is not valid", [FieldError("header.Idempotency-Key", message)])
    return key
