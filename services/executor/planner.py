"""How a job's units are divided into batches: a pure function of the units, the request and the resource.

Local resources run one batch with a pool of slots. SLURM's batching formula belongs here too.
"""

import msgspec
from msgspec import UNSET

from shared.contracts.jobs import JobSubmit, PlannedBatch
from shared.contracts.problems import FieldError
from shared.contracts.resources import LocalRunnerConfig
from shared.errors import Invalid


class BatchPlan(msgspec.Struct, frozen=True):
    """The batches of a job and what its submitter should know about them."""

    batches: list[PlannedBatch]
    warnings: list[str] = []


def plan_local(submit: JobSubmit, config: LocalRunnerConfig, cpu_count: int) -> BatchPlan:
    """One batch with as many slots as the resource allows, or fewer where the request asks for fewer.

    Raises Invalid where the request asks for more than the resource's `parallel_tasks_per_job`.
    """
    limit = config.parallel_tasks_per_job
    slots = cpu_count if limit is UNSET or limit is None else limit
    warnings = []
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
