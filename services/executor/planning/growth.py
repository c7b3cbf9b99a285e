"""How much more the next attempt of a unit gets. Pure functions."""

import math
from collections.abc import Sequence

import msgspec

from shared.slurm.requests.needs import UnitNeeds
from stoker.contracts.needs import Retries


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
