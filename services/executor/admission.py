"""Accepting jobs: a submit call is checked, planned and stored in one transaction, once for each idempotency key."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from services.executor.batch_plan import BatchPlan
from services.executor.connections import Connections
from services.executor.holds import Holds, NewHold
from services.executor.planner import plan_job
from services.executor.repositories import holds as hold_rows
from services.executor.repositories import jobs as rows
from services.executor.repositories.progress import encode
from services.executor.submission import check_submission
from services.executor.views import show_job
from shared.contracts.holds import Connection
from shared.contracts.jobs import Job, JobSubmit
from shared.contracts.keys import Caller
from shared.contracts.problems import FieldError
from shared.contracts.resources import ResourceType
from shared.database import Database
from shared.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from shared.failpoints import failpoint

_TRIES = 5
# Above this many units the work of checking and encoding them moves to a thread.
_FEW_UNITS = 5000

Fill = Callable[[AsyncConnection, str, BatchPlan], Awaitable[None]]


class _HoldLostError(Exception):
    """The profile's hold was released between looking at it and storing the job."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what makes a repeated call the same call."""

    caller: Caller
    body_sha256: str
    idempotency_key: str | None = None


def sha256_of(body: bytes) -> str:
    """What tells bodies apart."""
    return hashlib.sha256(body).hexdigest()


class Admission:
    """Makes jobs of submit calls."""

    def __init__(
        self,
        *,
        database: Database,
        connections: Connections,
        holds: Holds,
        resource_types: frozenset[ResourceType],
        cpu_count: int,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._connections = connections
        self._holds = holds
        self._resource_types = resource_types
        self._cpu_count = cpu_count
        self._wake = wake

    async def submit(self, request: Request, submit: JobSubmit) -> Job:
        """The job of this call, stored before this returns.

        Raises Invalid (each wrong field named; `idempotency-key-reused`), NotFound (no such profile, or not granted),
        Conflict (`submissions-prevented`), Unavailable (registry or database).
        """
        if (known := await self._known(request)) is not None:
            return known
        files, arguments = await prepared(submit)

        async def fill(connection: AsyncConnection, job_id: str, plan: BatchPlan) -> None:
            await rows.add_units(connection, job_id, plan.batches, arguments)
            await rows.add_files(connection, job_id, files)

        return await self._accept(request, submit, fill)

    async def rerun(self, request: Request, job_id: str) -> Job:
        """A new job of another one's command, units and files. Raises as `submit`; NotFound for the job too."""
        if (known := await self._known(request)) is not None:
            return known
        async with self._database.read() as connection:
            source = await rows.find_job_source(connection, job_id)
        if source is None or not may_see(request.caller, source):
            raise no_such_job(job_id)
        spec = msgspec.json.decode(source.spec)
        submit = msgspec.convert(spec | {"units": [{}] * source.unit_count}, JobSubmit)

        async def fill(connection: AsyncConnection, new_id: str, plan: BatchPlan) -> None:
            await rows.copy_units_and_files(connection, job_id, new_id, plan.batches)

        return await self._accept(request, submit, fill)

    async def _known(self, request: Request) -> Job | None:
        if request.idempotency_key is None:
            return None
        async with self._database.read() as connection:
            return await _same_call(connection, request)

    async def usable(self, caller: Caller, profile_id: str) -> Connection:
        """The connection of a profile that this caller may submit to now. Raises as `submit`."""
        if caller.role == "service":
            raise Forbidden("jobs are submitted with an admin's or a user's key")
        if caller.role == "user" and profile_id not in caller.profile_ids:
            raise no_such_profile(profile_id)
        try:
            connection = await self._connections.latest(profile_id)
        except NotFound:
            raise no_such_profile(profile_id) from None
        kind = connection.resource.type
        if kind not in self._resource_types:
            served = ", ".join(sorted(self._resource_types))
            message = f"is a profile of a {kind} resource, on which this instance cannot run jobs (served: {served})"
            raise Invalid("Jobs cannot run there", [FieldError("profile_id", message)])
        if connection.resource.spec.prevent_new_submissions is True:
            raise Conflict(
                f"The resource {connection.resource.name!r} takes no new jobs (prevent_new_submissions); "
                "jobs that were accepted before go on",
                slug="submissions-prevented",
            )
        return connection

    async def _accept(self, request: Request, submit: JobSubmit, fill: Fill) -> Job:
        connection = await self.usable(request.caller, submit.profile_id)
        plan = plan_job(submit, connection.resource.spec, self._cpu_count)
        new = _new_job(request, submit, connection, plan)
        for _ in range(_TRIES):
            try:
                hold = await self._holds.prepare(submit.profile_id)
            except NotFound:
                raise no_such_profile(submit.profile_id) from None
            try:
                job = await self._store(request, new, plan, hold, fill)
            except _HoldLostError:
                continue
            except Invalid:
                await self._holds.discard(hold, submit.profile_id)
                raise
            failpoint("admission.stored")
            await self._holds.discard(hold, submit.profile_id)
            self._wake()
            return job
        raise Unavailable("The profile is being released; try again", retry_after_seconds=1)

    async def _store(
        self, request: Request, new: rows.NewJob, plan: BatchPlan, hold: NewHold | None, fill: Fill
    ) -> Job:
        async with self._database.write() as connection:
            if not await rows.insert_job(connection, new):
                # The same call came twice at once, and the other one was first.
                if (known := await _same_call(connection, request)) is None:
                    raise Unavailable("The job of this idempotency key was removed just now", retry_after_seconds=1)
                return known
            if hold is None:
                if not await hold_rows.is_held(connection, new.profile_id, keep=True):
                    raise _HoldLostError
            elif hold.fresh:
                await hold_rows.take(connection, new.profile_id, new.resource_id, hold.token)
            else:
                raise _HoldLostError
            await fill(connection, new.id, plan)
            failpoint("admission.storing")
            row = await rows.find_job(connection, new.id)
            assert row is not None  # noqa: S101 - stored by this transaction
            return show_job(row)


async def prepared(submit: JobSubmit) -> tuple[dict[str, bytes], list[str]]:
    """Files and arguments as they are stored. Raises Invalid."""

    def prepare() -> tuple[dict[str, bytes], list[str]]:
        files = check_submission(submit)
        return files, [encode(arguments) for arguments in submit.units]

    if len(submit.units) <= _FEW_UNITS and not submit.files:
        return prepare()
    return await asyncio.to_thread(prepare)


def _new_job(request: Request, submit: JobSubmit, connection: Connection, plan: BatchPlan) -> rows.NewJob:
    # Microseconds are what callers see: what they were shown is what they can ask for.
    now = round(time.time(), 6)
    job_id = str(ULID.from_timestamp(now)).lower()
    spec = {name: value for name, value in msgspec.structs.asdict(submit).items() if name not in {"units", "files"}}
    return rows.NewJob(
        id=job_id,
        name=submit.name,
        owner=request.caller.owner,
        key_id=request.caller.key_id,
        profile_id=submit.profile_id,
        resource_id=connection.resource.id,
        command=encode(submit.command),
        spec=encode(spec),
        snapshot=encode(connection),
        folder=f"{datetime.fromtimestamp(now, UTC):%Y-%m}/{job_id}",
        created_at=now,
        unit_count=len(submit.units),
        batches=[(str(ULID()).lower(), batch) for batch in plan.batches],
        idempotency_key=request.idempotency_key,
        body_sha256=request.body_sha256,
    )


async def _same_call(connection: AsyncConnection, request: Request) -> Job | None:
    """The job that this call has made before, if it has; Invalid when another call used its key."""
    row = await rows.find_by_idempotency_key(connection, request.caller.key_id, request.idempotency_key or "")
    if row is None:
        return None
    if row.body_sha256 != request.body_sha256:
        raise Invalid(
            "The idempotency key was used for another request",
            [FieldError("Idempotency-Key", f"made job {row.id} of another body; use a new key for a new job")],
            slug="idempotency-key-reused",
        )
    return show_job(row)


def may_see(caller: Caller, job: Row[Any]) -> bool:
    """Whether a job exists for this caller: users see the jobs of their key's owner."""
    return caller.role != "user" or job.owner == caller.owner


def no_such_job(job_id: str) -> NotFound:
    """The same words whether it is not there or not the caller's."""
    return NotFound(f"There is no job {job_id}")


def no_such_profile(profile_id: str) -> NotFound:
    """The same words whether it is not there or not granted."""
    return NotFound(f"There is no profile {profile_id}")
