"""Accepting jobs: a submit call is checked, planned and stored in one transaction, once for each idempotency key."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from services.executor.jobs.access import may_see
from services.executor.jobs.submit_rules import check_submission, check_way
from services.executor.model.batch_plan import BatchPlan
from services.executor.model.json_text import encode
from services.executor.model.missing import no_such_job
from services.executor.model.requests import Request
from services.executor.planning.plan import plan_job
from services.executor.repositories import jobs as rows
from services.executor.repositories.stored_submit import StoredSubmit, submit_of
from services.executor.resources.holds import Holds
from services.executor.resources.profiles import Profiles
from services.executor.tasks.runs import expanded, require_ready
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.ids import new_id
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import Job, JobSubmit
from stoker.errors import Unavailable

# Above this many units the work of checking and encoding them is done in a thread.
_FEW_UNITS = 5000

_NOT_KEPT = frozenset({"units", "files", "task"})


class Admission:
    """Makes jobs of submit calls."""

    def __init__(
        self, *, database: Database, profiles: Profiles, holds: Holds, cpu_count: int, wake: Callable[[], None]
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._holds = holds
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
            used = await self._profiles.usable(request.caller, submit.profile_id)
            submit = await expanded(self._database, submit, used, self._cpu_count)
        files, arguments = await prepared(submit)
        used = used or await self._profiles.usable(request.caller, submit.profile_id)
        new, plan = self._planned(request, submit, used)
        async with self._holds.storing(used) as connection:
            if await _begin(connection, new):
                await rows.add_units(connection, new.id, plan.batches, arguments)
                await rows.add_files(connection, new.id, files)
            job = await _made(connection, request, new)
        self._wake()
        return job

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
        used = await self._profiles.usable(request.caller, submit.profile_id)
        new, plan = self._planned(request, submit, used)
        async with self._holds.storing(used) as connection:
            if await _begin(connection, new):
                await rows.copy_units_and_files(connection, job_id, new.id, plan.batches)
            job = await _made(connection, request, new)
        self._wake()
        return job

    async def _known(self, request: Request) -> Job | None:
        """The job that this call has made before, if it has."""
        if request.idempotency_key is None:
            return None
        async with self._database.read() as connection:
            return await _same_call(connection, request)

    def _planned(self, request: Request, submit: JobSubmit, used: Connection) -> tuple[rows.NewJob, BatchPlan]:
        plan = plan_job(submit, used.resource.spec, self._cpu_count)
        return _new_job(request, submit, used, plan), plan


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
        batches=[(new_id(), batch) for batch in plan.batches],
        idempotency_key=request.idempotency_key,
        body_sha256=request.body_sha256,
    )


async def _begin(connection: AsyncConnection, new: rows.NewJob) -> bool:
    """Store a job without its units and files; False when the same call came twice at once, and the other was first.

    Raises Conflict (the environment is not ready any more), NotFound (it is gone).
    """
    if not await rows.insert_job(connection, new):
        return False
    if new.environment_id is not None:
        await require_ready(connection, new.environment_id)
    return True


async def _made(connection: AsyncConnection, request: Request, new: rows.NewJob) -> Job:
    """The job that is stored when this transaction ends: the new one, or that of the same call."""
    failpoint("admission.storing")
    if (job := await rows.find_job(connection, new.id)) is not None:
        return job
    if (known := await _same_call(connection, request)) is not None:
        return known
    raise Unavailable("The job of this idempotency key was removed just now", retry_after_seconds=1)


async def _same_call(connection: AsyncConnection, request: Request) -> Job | None:
    """The job that this call has made before, if it has; Invalid when another call used its key."""
    found = await rows.find_by_idempotency_key(connection, request.caller.key_id, request.idempotency_key or "")
    if found is None:
        return None
    job, body_sha256 = found
    request.check_same_body(body_sha256, f"job {job.id}")
    return job
