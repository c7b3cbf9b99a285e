"""Running a task of an environment: from the request to command, units and needs of each phase."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.building.results import Built, command_of
from services.executor.model.missing import check_id, no_such_environment
from services.executor.planning.plan import plan_job
from services.executor.repositories import environments as rows
from services.executor.repositories.stored_submit import StoredPhase, StoredSubmit, of_phase
from services.executor.tasks.arguments import Phase, phases_of
from services.executor.tasks.manifest import TaskDescription
from services.executor.tasks.needs import merged
from shared.service.database.transactions import Database
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.needs import Needs, PartNeeds
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import LocalResourceSpec, ResourceSpec, SlurmConfig
from stoker.errors import Conflict, Invalid, NotFound

_MANY_UNITS = 1000
_FILES = ["--args-json", "{args_json}", "--out-json", "{out_json}"]


async def expanded(database: Database, submit: JobSubmit, used: Connection, cpu_count: int) -> StoredSubmit:
    """The call that runs a task, with its command and units. Raises as `expand`; Invalid: it does not fit."""
    async with database.read() as connection:
        found = await expand(connection, submit, used)
    if len(found.phases) < 2:  # noqa: PLR2004 - two phases
        return found
    return with_slots(found, used.resource.spec, cpu_count)


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
    built = msgspec.json.decode(environment.built or "{}", type=Built)
    if "\0" in run.task or (task := await rows.find_task(connection, environment.id, run.task)) is None:
        raise NotFound(f"Environment {environment.id} has no task of this name")
    described = msgspec.json.decode(task.description, type=TaskDescription)
    try:
        phases = phases_of(described, run)
    except Invalid as error:
        told = [FieldError(f"task.{one.path}", one.message) for one in error.errors]
        raise Invalid(error.message, told) from error
    kept = [kept_phase(phase, submit, built, used.resource.spec) for phase in phases]
    values = {name: getattr(submit, name) for name in submit.__struct_fields__}
    values |= {"units": phases[0].units or [], "task": None}
    stored = StoredSubmit(
        **values,
        phases=kept,
        environment_id=environment.id,
        task_name=described.name,
        arguments_parallel=run.arguments_parallel if len(kept) > 1 else {},
    )
    # What is kept of the call is what the first phase needs; each batch is planned by its own phase.
    return of_phase(stored, 0)


def with_slots(submit: StoredSubmit, spec: ResourceSpec, cpu_count: int) -> StoredSubmit:
    """A compound task's call whose second phase is known to fit the resource. Raises Invalid."""
    first, second = submit.phases
    wanted = of_phase(submit, 1)
    # How many units there will be is not known yet: a division that was asked for is tried with one batch.
    count = min(wanted.tasks_per_job or _MANY_UNITS, _MANY_UNITS)
    plan = plan_job(msgspec.structs.replace(wanted, units=[{}] * count), spec, cpu_count)
    slots = max(batch.parallel for batch in plan.batches)
    return msgspec.structs.replace(submit, phases=[first, msgspec.structs.replace(second, slots=slots)])


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


def kept_phase(phase: Phase, submit: JobSubmit, built: Built, spec: ResourceSpec) -> StoredPhase:
    """What a phase has of its own: the call's word goes before that for its part, which goes before the package's."""
    part = merged(phase.needs, submit.needs)
    each, at_once = _division(part, submit, spec)
    return StoredPhase(
        command=[_literal(one) for one in command_of(built, phase.executable)] + _FILES,
        needs=Needs(**{name: getattr(part, name) for name in Needs.__struct_fields__}),
        complete=True,
        extra_lines=_lines(part, submit, spec),
        tasks_per_job=each,
        parallel_tasks_per_job=at_once,
    )


def _lines(part: PartNeeds, submit: JobSubmit, spec: ResourceSpec) -> list[str]:
    """The lines of the part that are not there anyhow, and the call's. No part's fit a local resource."""
    if isinstance(spec, LocalResourceSpec):
        return submit.extra_lines
    config = spec.jobs_runner_config
    layers = [config.default_slurm_config, config.gpu_slurm_config]
    there = {line for layer in layers if isinstance(layer, SlurmConfig) for line in layer.extra_lines or []}
    own = [line for line in part.extra_lines if line not in there and line not in submit.extra_lines]
    return [*own, *submit.extra_lines]


def _division(part: PartNeeds, submit: JobSubmit, spec: ResourceSpec) -> tuple[int | None, int | None]:
    """How many units a batch has, and how many of them run at once: by the call if it says so, else by the part."""
    if submit.tasks_per_job is not None or submit.parallel_tasks_per_job is not None:
        return submit.tasks_per_job, submit.parallel_tasks_per_job
    each, at_once = part.tasks_per_job or None, part.parallel_tasks_per_job or None
    if isinstance(spec, LocalResourceSpec):
        limit = spec.jobs_runner_config.parallel_tasks_per_job
        return None, min(at_once, limit) if at_once and isinstance(limit, int) else at_once
    # A package may say how many units run at once only: that is for machines without a scheduler.
    return (each, at_once) if each and at_once else (None, None)


def _literal(part: str) -> str:
    """Raise Conflict for a path that would be taken for a placeholder."""
    if "{args_json}" in part or "{out_json}" in part or "{unit}" in part or "{args." in part:
        raise Conflict(f"{part} cannot be run: its name is taken for a placeholder")
    return part
