"""This room put together."""

from collections.abc import Callable

import msgspec

from services.executor.jobs.admission import Admission
from services.executor.jobs.cancellation import Cancellation
from services.executor.jobs.catalogue import JobCatalogue
from services.executor.jobs.plans import Plans
from services.executor.jobs.removal import Removal
from services.executor.kinds.slurm.looks import SchedulerLooks
from services.executor.resources.parts import Resources
from shared.service.database.transactions import Database


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """The use cases of jobs."""

    admission: Admission
    plans: Plans
    catalogue: JobCatalogue
    cancellation: Cancellation
    removal: Removal


def jobs(
    database: Database, resources: Resources, looks: SchedulerLooks, cpu_count: int, wake: Callable[[], None]
) -> Jobs:
    """`wake` lets the engine look for work."""
    profiles, catalogue = resources.profiles, JobCatalogue(database, resources.reachability.trouble)
    return Jobs(
        admission=Admission(
            database=database, profiles=profiles, holds=resources.holds, cpu_count=cpu_count, wake=wake
        ),
        plans=Plans(database=database, profiles=profiles, agents=resources.pool, looks=looks, cpu_count=cpu_count),
        catalogue=catalogue,
        cancellation=Cancellation(database, wake),
        removal=Removal(database, catalogue, resources.agents),
    )
