"""What of the allocation belongs to each slot: its GPUs, its CPUs, and the variables that tell a unit of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from shared.remote.runner.batch import Batch

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
THREADS_VARIABLE = "OMP_NUM_THREADS"


class SharesMissing(Exception):  # noqa: N818 - says what it is
    """The allocation is too small for the slots."""


class Shares:
    """Divides the allocation. `environment` is that of the batch script, units' own settings included.

    Raises SharesMissing with the reason in words.
    """

    def __init__(self, batch: Batch, environment: Mapping[str, str], *, in_slurm: bool) -> None:
        self._own_threads = THREADS_VARIABLE not in environment
        self._cpus_per_unit = batch.cpus_per_unit
        # Where units are steps, SLURM itself divides the allocation.
        self._devices = {} if batch.step else _devices(batch, environment)
        self._gpus_per_unit = batch.gpus_per_unit
        self._cpus = _cpus(batch) if in_slurm and not batch.step else []

    def variables(self, slot: int) -> dict[str, str]:
        """Return what the units of a slot are told."""
        told = {
            name: ",".join(devices[slot * self._gpus_per_unit : (slot + 1) * self._gpus_per_unit])
            for name, devices in self._devices.items()
        }
        if self._cpus_per_unit:
            told["STOKER_CPUS"] = str(self._cpus_per_unit)
            if self._own_threads:
                told[THREADS_VARIABLE] = str(self._cpus_per_unit)
        return told

    def cpus(self, slot: int) -> list[int]:
        """Return the CPUs that the units of a slot are bound to; empty where nothing is bound."""
        return self._cpus[slot * self._cpus_per_unit : (slot + 1) * self._cpus_per_unit]


def _devices(batch: Batch, environment: Mapping[str, str]) -> dict[str, list[str]]:
    needed = batch.parallel * batch.gpus_per_unit
    if not needed:
        return {}
    found = {name: list(filter(None, environment.get(name, "").split(","))) for name in DEVICE_VARIABLES}
    enough = {name: devices for name, devices in found.items() if len(devices) >= needed}
    if not enough:
        most = max(map(len, found.values()))
        raise SharesMissing(
            f"the allocation has {most} GPUs, but {batch.parallel} units at once, each with {batch.gpus_per_unit}, "
            f"need {needed}"
        )
    return enough


def _cpus(batch: Batch) -> list[int]:
    """Return the allocation's CPUs when they are exactly as many as the slots need, threads of one core together."""
    if not batch.cpus_per_unit or not hasattr(os, "sched_getaffinity"):
        return []
    own = os.sched_getaffinity(0)
    if len(own) != batch.parallel * batch.cpus_per_unit:
        return []
    return sorted(own, key=lambda cpu: (_core(cpu), cpu))


def _core(cpu: int) -> int:
    """Return the lowest CPU of the same core."""
    try:
        with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", encoding="ascii") as file:
            return int(file.read().replace("-", ",").split(",")[0])
    except (OSError, ValueError):
        return cpu
