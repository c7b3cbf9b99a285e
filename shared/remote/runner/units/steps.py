"""Units as steps of the SLURM job, where a site wants SLURM to confine each of them."""

from __future__ import annotations

from collections.abc import Mapping

from shared.remote.runner.batch import Batch


def step_command(batch: Batch, environment: Mapping[str, str]) -> list[str]:
    """Return what stands before each unit's command; empty where units are not steps.

    Without a memory of its own a step takes all of the job's, and the next one waits for it.
    """
    if not batch.step:
        return []
    cpus = batch.cpus_per_unit or 1
    words = ["srun", "--quiet", "--exact", "--nodes=1", "--ntasks=1", f"--cpus-per-task={cpus}"]
    memory = batch.step_memory_mb or _share(batch, environment)
    if memory:
        words.append(f"--mem={memory}M")
    if batch.gpus_per_unit:
        words.append(f"--gpus={batch.gpus_per_unit}")
    return [*words, "--"]


def _share(batch: Batch, environment: Mapping[str, str]) -> int:
    try:
        if "SLURM_MEM_PER_NODE" in environment:
            return int(environment["SLURM_MEM_PER_NODE"]) // batch.parallel
        return int(environment["SLURM_MEM_PER_CPU"]) * (batch.cpus_per_unit or 1)
    except (KeyError, ValueError):
        return 0
