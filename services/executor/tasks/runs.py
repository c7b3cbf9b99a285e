"""Running a task of an environment: from the request to command, units and needs of each phase."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.building.results import Built, command_of
from services.executor.model.absent import check_id, no_such_environment
from services.executor.planning.plan import plan_job
from services.executor.repositories import environments as rows
from services.executor.repositories.stored_submit import StoredPhase, StoredSubmit
from services.executor.tasks.arguments import Phase, phases_of
from services.executor.tasks.manifest import TaskDescription
from services.executor.tasks.needs import merged
from shared.service.database.transactions import Database
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import ResourceSpec
from stoker.errors import Conflict, Invalid, NotFound

_MANY_UNITS = 1000
_FILES = ["--args-json", "{args_json}", "--out-json", "{out_json}"]


async def expanded(database: Database, submit: JobSubmit, used: Connection, cpu_count: int) -> StoredSubmit:
    """The call that runs a task, with its command and units. Raises as `expand`; Invalid: it does not fit."""
    async with database.read() as connection:
        found = await expand(connection, submit, used)
    if len(found.phases) < 2:  # noqa: PLR2004 - two phases
        return found
    return _with_slots(found, used.resource.spec, cpu_count)


async def expand(connection: AsyncConnection, submit: JobSubmit, used: Connection) -> StoredSubmit:
    """The call with what follows from its task; the compute units of a compound one come later.

    Raises NotFound (no such environment on the resource, no such task), Conflict (not ready), Invalid.
    """
    run = submit.task
    assert run is not None  # noqa: S101 - looked at before
    missing = no_such_environment(run.environment_id)
    check_id(run.environment_id, missing)
    environment = await rows.find_environment(connection, run.environment_id)
    if environment is None or environment.resource_id != used.resource.id:
        raise missing
    check_ready(environment.id, environment.state)
    if "\0" in run.task or (task := await rows.find_task(connection, environment.id, run.task)) is None:
        raise NotFound(f"Environment {environment.id} has no task of this name")
    described = msgspec.json.decode(task.description, type=TaskDescription)
    built = msgspec.json.decode(environment.built, type=Built)
    try:
        phases = phases_of(described, run)
    except Invalid as error:
        told = [FieldError(f"task.{one.path}", one.message) for one in error.errors]
        raise Invalid(error.message, told) from error
    kept = [_kept(phase, submit, built) for phase in phases]
    # What is kept of the call is what the first phase needs; each batch is planned by its own phase.
    values = {name: getattr(submit, name) for name in submit.__struct_fields__}
    values |= {"command": kept[0].command, "needs": kept[0].needs, "units": phases[0].units or [], "task": None}
    return StoredSubmit(
        **values,
        phases=kept,
        environment_id=environment.id,
        task_name=described.name,
        arguments_parallel=run.arguments_parallel if len(kept) > 1 else {},
    )


def _with_slots(submit: StoredSubmit, spec: ResourceSpec, cpu_count: int) -> StoredSubmit:
    """A compound task's call whose second phase is known to fit the resource. Raises Invalid."""
    second = submit.phases[1]
    wanted = msgspec.structs.replace(
        submit, command=second.command, needs=second.needs, units=[{}] * _MANY_UNITS, tasks_per_job=None
    )
    if submit.tasks_per_job is not None:
        wanted = msgspec.structs.replace(wanted, parallel_tasks_per_job=None)
    plan = plan_job(wanted, spec, cpu_count)
    slots = max(batch.parallel for batch in plan.batches)
    return msgspec.structs.replace(submit, phases=[submit.phases[0], msgspec.structs.replace(second, slots=slots)])


async def require_ready(connection: AsyncConnection, environment_id: str) -> None:
    """Keep an environment as it is until this transaction has stored what uses it. Raises Conflict, NotFound."""
    environment = await rows.lock_environment(connection, environment_id)
    if environment is None:
        raise no_such_environment(environment_id)
    check_ready(environment_id, environment.state)


def check_ready(environment_id: str, state: str) -> None:
    """Raise Conflict unless tasks of the environment can run."""
    if state != "ready":
        raise Conflict(f"Environment {environment_id} is not ready: it is {state}")


def _kept(phase: Phase, submit: JobSubmit, built: Built) -> StoredPhase:
    return StoredPhase(
        command=[_literal(part) for part in command_of(built, phase.executable)] + _FILES,
        needs=merged(phase.needs, submit.needs),
    )


def _literal(part: str) -> str:
    """Raise Conflict for a path that would be taken for a placeholder."""
    if "{args_json}" in part or "{out_json}" in part or "{unit}" in part or "{args." in part:
        raise Conflict(f"{part} cannot be run: its name is taken for a placeholder")
    return part
