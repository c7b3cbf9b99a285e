"""Local resources run each job as one batch with a pool of slots."""

from collections.abc import Iterator

from msgspec import UNSET

from services.executor.model.batch_plan import BatchPlan
from shared.slurm.requests.needs import worker_init_errors
from shared.slurm.requests.times import unit_time_errors
from stoker.contracts.jobs import JobSubmit, PlannedBatch
from stoker.contracts.needs import Needs, SchedulingRequest
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import LocalRunnerConfig
from stoker.errors import Invalid


def plan_local(submit: JobSubmit, config: LocalRunnerConfig, cpu_count: int) -> BatchPlan:
    """One batch with as many slots as the resource allows, or fewer where the request asks for fewer.

    Raises Invalid where the request asks for more than the resource's `parallel_tasks_per_job`, or for what only a
    scheduler has.
    """
    if errors := list(_for_schedulers_only(submit)):
        raise Invalid("A local resource has no scheduler", errors)
    limit = config.parallel_tasks_per_job
    slots = cpu_count if limit is UNSET or limit is None else limit
    warnings = [] if submit.needs == Needs() else ["needs have no effect on a local resource"]
    if submit.tasks_per_job is not None:
        raise Invalid(
            "A local resource runs each job as one batch",
            [FieldError("tasks_per_job", "must be left out on a local resource: it has one batch a job")],
        )
    if submit.parallel_tasks_per_job is not None:
        if isinstance(limit, int) and submit.parallel_tasks_per_job > limit:
            raise Invalid(
                "More units at once than the resource allows",
                [FieldError("parallel_tasks_per_job", f"must be at most {limit}, the limit of this resource")],
            )
        slots = submit.parallel_tasks_per_job
        if slots > cpu_count:
            warnings.append(f"{slots} units at once on {cpu_count} CPUs")
    total = len(submit.units)
    return BatchPlan([PlannedBatch(index=0, first=0, unit_count=total, parallel=min(slots, total))], warnings)


def _for_schedulers_only(request: SchedulingRequest) -> Iterator[FieldError]:
    for name, instead in (("account", ""), ("extra_lines", "; shell lines belong in worker_init")):
        if getattr(request, name):
            yield FieldError(name, f"must be left out on a local resource: it is meant for SLURM{instead}")
    yield from worker_init_errors(request.worker_init)
    yield from unit_time_errors(request.unit_time)
