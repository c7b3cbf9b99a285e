"""How a job's units are divided into batches: a pure function of the units, the request and the resource."""

from services.executor.model.batch_plan import BatchPlan
from services.executor.planning.local import plan_local
from services.executor.planning.slurm import bounds_of, plan_slurm
from shared.slurm.answers.cluster import Partition
from shared.slurm.requests.needs import merge_needs
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.resources import LocalResourceSpec, ResourceSpec


def plan_job(submit: JobSubmit, spec: ResourceSpec, cpu_count: int, partition: Partition | None = None) -> BatchPlan:
    """The batches of a job on any kind of resource. `partition`: where a SLURM job goes, if that is known.

    Raises Invalid, which names each field that asks for what the resource does not have.
    """
    if isinstance(spec, LocalResourceSpec):
        return plan_local(submit, spec.jobs_runner_config, cpu_count)
    config = spec.jobs_runner_config
    return plan_slurm(
        len(submit.units),
        merge_needs(config, submit),
        bounds_of(config.batching_config),
        tasks_per_job=submit.tasks_per_job,
        parallel_tasks_per_job=submit.parallel_tasks_per_job,
        partition=partition,
    )
