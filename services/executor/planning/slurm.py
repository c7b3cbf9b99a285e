"""How the units of a SLURM job are divided into batches, each of which is one SLURM job: a pure function.

The formula first tries batches of the target size, then of the maximum size, one unit a slot; where even that makes
too many SLURM jobs, units queue inside them.
"""

import math
from collections.abc import Iterator

import msgspec

from services.executor.model.batch_plan import BatchPlan
from shared.slurm.answers.cluster import Partition
from shared.slurm.requests.memory import parse_memory
from shared.slurm.requests.needs import UnitNeeds
from shared.slurm.requests.times import UNLIMITED, format_limit
from stoker.contracts.jobs import PlannedBatch
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import BatchingConfig
from stoker.errors import Invalid


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """A `BatchingConfig` in numbers; memory in MB."""

    target_cpus: int
    max_cpus: int
    target_memory: int
    max_memory: int
    target_jobs: int
    max_jobs: int


class Shape(msgspec.Struct, frozen=True):
    """A batch has at most `tasks_per_job` units and runs `parallel` of them at once."""

    tasks_per_job: int
    parallel: int


def bounds_of(config: BatchingConfig) -> Bounds:
    """Return the bounds in numbers; Invalid where an amount of memory has no valid form."""
    path = "jobs_runner_config.batching_config"
    return Bounds(
        target_cpus=config.target_cpus_per_job,
        max_cpus=config.max_cpus_per_job,
        target_memory=parse_memory(config.target_mem_per_job, f"{path}.target_mem_per_job"),
        max_memory=parse_memory(config.max_mem_per_job, f"{path}.max_mem_per_job"),
        target_jobs=config.target_num_jobs,
        max_jobs=config.max_num_jobs,
    )


def plan_slurm(
    unit_count: int,
    needs: UnitNeeds,
    bounds: Bounds,
    *,
    tasks_per_job: int | None = None,
    parallel_tasks_per_job: int | None = None,
    partition: Partition | None = None,
) -> BatchPlan:
    """Return the batches of a job, in the order of its units, with what its submitter should know.

    `partition` is the one that the job goes to, where it is known: its limits are looked at. All batches ask SLURM
    for what the largest needs (`script_parallel`). Raises Invalid where one unit, or the request's own division, is
    above a maximum.
    """
    one_at_a_time = needs.one_at_a_time is not None
    shape = batch_shape(
        unit_count,
        needs.cpus,
        needs.memory_mb,
        bounds,
        tasks_per_job=tasks_per_job,
        parallel_tasks_per_job=parallel_tasks_per_job,
        one_at_a_time=one_at_a_time,
    )
    batches = [
        PlannedBatch(index=index, first=first, unit_count=size, parallel=min(shape.parallel, size))
        for index, first in enumerate(range(0, unit_count, shape.tasks_per_job))
        for size in (min(shape.tasks_per_job, unit_count - first),)
    ]
    warnings = [*needs.warnings, *_time_warnings(batches[0], needs, partition)]
    if tasks_per_job is not None:
        warnings += _target_warnings(len(batches), shape, needs, bounds)
    if one_at_a_time and unit_count > 1:
        warnings.append(f"units of a batch run one at a time: {needs.one_at_a_time}")
    return BatchPlan(batches, warnings)


def script_parallel(batches: list[PlannedBatch]) -> int:
    """Return how many units at once the SLURM jobs of these batches have to have room for."""
    return max(batch.parallel for batch in batches)


def batch_shape(
    unit_count: int,
    cpus: int,
    memory_mb: int | None,
    bounds: Bounds,
    *,
    tasks_per_job: int | None = None,
    parallel_tasks_per_job: int | None = None,
    one_at_a_time: bool = False,
) -> Shape:
    """Return the size of batches: the request's own, or by the formula. Raises Invalid (see `plan_slurm`)."""
    _check_unit(cpus, memory_mb, bounds)
    if tasks_per_job is not None and parallel_tasks_per_job is not None:
        parallel = 1 if one_at_a_time else min(parallel_tasks_per_job, tasks_per_job)
        _check_given(unit_count, cpus, memory_mb, bounds, Shape(tasks_per_job, parallel))
        return Shape(tasks_per_job, parallel)
    if tasks_per_job is not None or parallel_tasks_per_job is not None:
        missing = "tasks_per_job" if tasks_per_job is None else "parallel_tasks_per_job"
        raise Invalid(
            "Only one half of a division into batches is given",
            [FieldError(missing, "must be given together with the other: tasks_per_job and parallel_tasks_per_job")],
        )
    for most_cpus, most_memory, most_jobs in (
        (bounds.target_cpus, bounds.target_memory, bounds.target_jobs),
        (bounds.max_cpus, bounds.max_memory, bounds.max_jobs),
    ):
        parallel = 1 if one_at_a_time else _fit(cpus, memory_mb, most_cpus, most_memory)
        if math.ceil(unit_count / parallel) <= most_jobs:
            return Shape(parallel, parallel)
    return Shape(math.ceil(unit_count / bounds.max_jobs), parallel)


def _fit(cpus: int, memory_mb: int | None, most_cpus: int, most_memory: int) -> int:
    """How many units have room at once; one in any case, since a target may be smaller than a unit."""
    if memory_mb is None:
        return max(1, most_cpus // cpus)
    return max(1, min(most_cpus // cpus, most_memory // memory_mb))


def _check_unit(cpus: int, memory_mb: int | None, bounds: Bounds) -> None:
    errors = []
    if cpus > bounds.max_cpus:
        errors.append(
            FieldError("needs.cpus_per_task", f"must be at most {bounds.max_cpus}, this resource's max_cpus_per_job")
        )
    if memory_mb is not None and memory_mb > bounds.max_memory:
        errors.append(
            FieldError("needs.mem", f"must be at most {bounds.max_memory} (MB), this resource's max_mem_per_job")
        )
    if errors:
        raise Invalid("One unit needs more than a SLURM job of this resource may have", errors)


def _check_given(unit_count: int, cpus: int, memory_mb: int | None, bounds: Bounds, given: Shape) -> None:
    errors = []
    if given.parallel * cpus > bounds.max_cpus:
        message = f"must be at most {bounds.max_cpus // cpus}: with {cpus} CPUs a unit, max_cpus_per_job is reached"
        errors.append(FieldError("parallel_tasks_per_job", message))
    if memory_mb is not None and given.parallel * memory_mb > bounds.max_memory:
        most = bounds.max_memory // memory_mb
        message = f"must be at most {most}: with {memory_mb} MB a unit, max_mem_per_job is reached"
        errors.append(FieldError("parallel_tasks_per_job", message))
    if math.ceil(unit_count / given.tasks_per_job) > bounds.max_jobs:
        least = math.ceil(unit_count / bounds.max_jobs)
        message = f"must be at least {least}: {unit_count} units in at most {bounds.max_jobs} jobs (max_num_jobs)"
        errors.append(FieldError("tasks_per_job", message))
    if errors:
        raise Invalid("This division into batches is above the limits of the resource", errors)


def _target_warnings(jobs: int, shape: Shape, needs: UnitNeeds, bounds: Bounds) -> Iterator[str]:
    if (cpus := shape.parallel * needs.cpus) > bounds.target_cpus:
        yield f"a batch has {cpus} CPUs, above the target of {bounds.target_cpus} (target_cpus_per_job)"
    if needs.memory_mb is not None and (memory := shape.parallel * needs.memory_mb) > bounds.target_memory:
        yield f"a batch has {memory} MB, above the target of {bounds.target_memory} (target_mem_per_job)"
    if jobs > bounds.target_jobs:
        yield f"there are {jobs} batches, above the target of {bounds.target_jobs} (target_num_jobs)"


def _time_warnings(largest: PlannedBatch, needs: UnitNeeds, partition: Partition | None) -> Iterator[str]:
    most = partition.max_time_seconds if partition is not None else None
    limit = needs.time_seconds
    if limit is None and partition is not None:
        limit = partition.default_time_seconds or most
    if partition is not None and limit is not None and most is not None and limit > most:
        yield (
            f"the time limit {format_limit(limit)} is above that of partition {partition.name} "
            f"({format_limit(most)}): the job may never start"
        )
    if needs.unit_time_seconds is None or limit is None or limit == UNLIMITED:
        return
    rounds = math.ceil(largest.unit_count / largest.parallel)
    if (longest := rounds * needs.unit_time_seconds) > limit:
        yield (
            f"a batch may need {format_limit(longest)} for its {largest.unit_count} units "
            f"({largest.parallel} at once, {format_limit(needs.unit_time_seconds)} each), "
            f"above its time limit of {format_limit(limit)}"
        )
