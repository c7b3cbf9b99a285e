"""What the next attempt of a unit gets: more memory or time where earlier ones had too little. Pure functions."""

import math
from collections.abc import Sequence

import msgspec

from services.executor.planning.slurm import Shape, batch_shape, bounds_of
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import connection_of, submit_of
from shared.slurm.requests.needs import UnitNeeds, merge_needs
from stoker.contracts.needs import Retries
from stoker.contracts.resources import SlurmRunnerConfig


class Growth(msgspec.Struct, frozen=True):
    """Of which phase a batch's units are, and how often a lack of memory, or of time, ended their attempts before."""

    memory: int = 0
    time: int = 0
    phase: int = 0


def growth_of(batch: BatchRow) -> Growth:
    """What decides on the needs of a batch's units, besides its job."""
    return Growth(batch.memory_growth, batch.time_growth, batch.phase)


def grown_needs(
    needs: UnitNeeds, retries: Retries, past: Sequence[str], *, max_memory_mb: int, max_time_seconds: float | None
) -> UnitNeeds:
    """Return what the next attempt of a unit gets: more where earlier ones had too little, up to the maxima.

    `max_time_seconds` is the partition's limit where it is known. Units of equal needs can share a batch.
    """
    memory, time, unit_time = needs.memory_mb, needs.time_seconds, needs.unit_time_seconds
    if memory is not None:
        wanted = math.ceil(memory * retries.memory_factor ** past.count("out_of_memory"))
        memory = max(memory, min(wanted, max_memory_mb))
    factor = retries.time_factor ** past.count("time_limit")
    if time is not None:
        time = max(time, min(time * factor, math.inf if max_time_seconds is None else max_time_seconds))
    if unit_time is not None:
        unit_time = max(unit_time, min(unit_time * factor, math.inf if time is None else time))
    return msgspec.structs.replace(needs, memory_mb=memory, time_seconds=time, unit_time_seconds=unit_time)


def needs_of(job: JobRow, growth: Growth, *, max_time_seconds: float | None = None) -> UnitNeeds:
    """What each unit of a batch of a SLURM job needs (`job`: a row with `spec` and `snapshot`)."""
    config = _slurm_config(job)
    request = submit_of(job, growth.phase)
    past = ["out_of_memory"] * growth.memory + ["time_limit"] * growth.time
    return grown_needs(
        merge_needs(config, request),
        request.retries,
        past,
        max_memory_mb=bounds_of(config.batching_config).max_memory,
        max_time_seconds=max_time_seconds,
    )


def shape_of(job: JobRow, growth: Growth, count: int, most: int) -> Shape:
    """How so many waiting units are divided; `most` run at once where no scheduler decides. Raises Invalid."""
    submit = submit_of(job, growth.phase)
    if job.placement == "local":
        return Shape(count, submit.phases[1].slots if growth.phase else most)
    needs = needs_of(job, growth)
    bounds = bounds_of(_slurm_config(job).batching_config)
    # The division that was asked for is that of the units which come first: of the others there are fewer.
    asked = (submit.tasks_per_job, submit.parallel_tasks_per_job) if growth.phase else (None, None)
    return batch_shape(
        count,
        needs.cpus,
        needs.memory_mb,
        bounds,
        tasks_per_job=asked[0],
        parallel_tasks_per_job=asked[1],
        one_at_a_time=needs.one_at_a_time is not None,
    )


def _slurm_config(job: JobRow) -> SlurmRunnerConfig:
    config = connection_of(job).resource.spec.jobs_runner_config
    if not isinstance(config, SlurmRunnerConfig):
        raise TypeError("this job is not for SLURM")
    return config
