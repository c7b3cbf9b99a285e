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

from services.executor.jobs.submission import check_submission, check_way
from services.executor.jobs.views import show_job
from services.executor.planning.batch_plan import BatchPlan
from services.executor.planning.plan import plan_job
from services.executor.repositories import jobs as rows
from services.executor.repositories.progress import encode
from services.executor.repositories.stored_submit import StoredSubmit, submit_of
from services.executor.resources.held import Keep, no_such_profile, under_hold
from services.executor.resources.holds import Holds
from services.executor.tasks.runs import expand, require_ready, with_slots
from shared.service.connections import Connections
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import Job, JobSubmit
from stoker.contracts.keys import Caller
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import ResourceType
from stoker.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable

# Above this many units the work of checking and encoding them moves to a thread.
_FEW_UNITS = 5000

_NOT_KEPT = frozenset({"units", "files", "task"})

Fill = Callable[[AsyncConnection, str, BatchPlan], Awaitable[None]]


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

        Raises Invalid (each wrong field named; `idempotency-key-reused`), NotFound (no such profile, or not granted;
        no such environment or task), Conflict (`submissions-prevented`; the environment is not ready), Unavailable.
        """
        if (known := await self._known(request)) is not None:
            return known
        check_way(submit)
        used = None
        if submit.task is not None:
            used = await self.usable(request.caller, submit.profile_id)
            submit = await self.expanded(submit, used)
        files, arguments = await prepared(submit)

        async def fill(connection: AsyncConnection, job_id: str, plan: BatchPlan) -> None:
            await rows.add_units(connection, job_id, plan.batches, arguments)
            await rows.add_files(connection, job_id, files)

        return await self._accept(request, submit, fill, used)

    async def expanded(self, submit: JobSubmit, used: Connection) -> StoredSubmit:
        """The call that runs a task, with its command and units. Raises as `submit`."""
        async with self._database.read() as connection:
            expanded = await expand(connection, submit, used)
        if len(expanded.phases) < 2:  # noqa: PLR2004 - two phases
            return expanded
        return with_slots(expanded, used.resource.spec, self._cpu_count)

    async def rerun(self, request: Request, job_id: str) -> Job:
        """A new job of another one's command, units and files. Raises as `submit`; NotFound for the job too."""
        if (known := await self._known(request)) is not None:
            return known
        async with self._database.read() as connection:
            source = await rows.find_job_source(connection, job_id)
        if source is None or not may_see(request.caller, source):
            raise no_such_job(job_id)
        stored = submit_of(source)
        # Compute units are told anew by the init.
        count = 1 if len(stored.phases) > 1 else source.unit_count
        submit = msgspec.structs.replace(stored, units=[{}] * count)

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

    async def _accept(self, request: Request, submit: JobSubmit, fill: Fill, used: Connection | None = None) -> Job:
        used = used or await self.usable(request.caller, submit.profile_id)
        plan = plan_job(submit, used.resource.spec, self._cpu_count)
        new = _new_job(request, submit, used, plan)

        async def store(connection: AsyncConnection, keep: Keep) -> Job:
            if not await rows.insert_job(connection, new):
                # The same call came twice at once, and the other one was first.
                if (known := await _same_call(connection, request)) is None:
                    raise Unavailable("The job of this idempotency key was removed just now", retry_after_seconds=1)
                return known
            await keep()
            if new.environment_id is not None:
                await require_ready(connection, new.environment_id)
            await fill(connection, new.id, plan)
            failpoint("admission.storing")
            row = await rows.find_job(connection, new.id)
            assert row is not None  # noqa: S101 - stored by this transaction
            return show_job(row)

        job = await under_hold(self._database, self._holds, used, store)
        self._wake()
        return job


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
    spec = {name: value for name, value in msgspec.structs.asdict(submit).items() if name not in _NOT_KEPT}
    runs = submit if isinstance(submit, StoredSubmit) else None
    return rows.NewJob(
        id=job_id,
        name=submit.name,
        owner=request.caller.owner,
        key_id=request.caller.key_id,
        profile_id=submit.profile_id,
        resource_id=connection.resource.id,
        placement="local" if connection.resource.type == "local" else "slurm",
        environment_id=None if runs is None else runs.environment_id,
        task=None if runs is None else runs.task_name,
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
