"""This room put together."""

from collections.abc import Callable

import msgspec

from services.executor.building.uv_program import UvProgram
from services.executor.environments.access import Access
from services.executor.environments.activities import Activities
from services.executor.environments.catalogue import EnvironmentCatalogue
from services.executor.environments.changes import Changes
from services.executor.environments.creation import Creation
from services.executor.environments.new_activities import BuildSettings
from services.executor.jobs.cancellation import Cancellation
from services.executor.outputs.unit_log import UnitLogs
from services.executor.resources.parts import Resources
from services.executor.settings import ExecutorSettings
from shared.service.database.transactions import Database


class Environments(msgspec.Struct, frozen=True, kw_only=True):
    """The use cases of task environments."""

    creation: Creation
    changes: Changes
    catalogue: EnvironmentCatalogue
    activities: Activities


def environments(
    settings: ExecutorSettings,
    database: Database,
    resources: Resources,
    logs: UnitLogs,
    cancellation: Cancellation,
    uv: UvProgram | None,
    wake: Callable[[], None],
) -> Environments:
    """`wake` lets the engine look for work."""
    builds = BuildSettings(
        index_urls=settings.package_indexes or (), time_limit_seconds=settings.build_time_limit_seconds, uv=uv
    )
    catalogue = EnvironmentCatalogue(database, Access(resources.connections), resources.reachability.trouble)
    return Environments(
        creation=Creation(
            database=database,
            profiles=resources.profiles,
            holds=resources.holds,
            catalogue=catalogue,
            settings=builds,
            wake=wake,
        ),
        changes=Changes(
            database=database, connections=resources.connections, catalogue=catalogue, settings=builds, wake=wake
        ),
        catalogue=catalogue,
        activities=Activities(database, catalogue, logs, cancellation),
    )
