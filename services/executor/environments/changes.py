"""Deactivating, reactivating and deleting environments: each an activity, refused while jobs use them."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.building.builds import Arguments, Site, rebuilding, removal
from services.executor.building.results import Built
from services.executor.environments.access import check_may_change
from services.executor.environments.catalogue import EnvironmentCatalogue
from services.executor.environments.new_activities import (
    BuildSettings,
    NewActivity,
    add_activity,
    site_of,
)
from services.executor.model.missing import no_such_environment
from services.executor.model.states import FINAL_JOB_STATES
from services.executor.repositories import environments as rows
from services.executor.repositories.rows import EnvironmentRow
from shared.service.connections import Connections
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.ids import new_id
from stoker.contracts.environments import ActivityKind, Environment
from stoker.contracts.keys import Caller
from stoker.errors import Conflict

_FROM: dict[str, frozenset[str]] = {
    "deactivate": frozenset({"ready"}),
    "reactivate": frozenset({"inactive"}),
    "delete": frozenset({"ready", "inactive", "failed", "deleting"}),
}
_MEANWHILE: dict[str, str] = {"deactivate": "inactive", "reactivate": "inactive", "delete": "deleting"}
_REACHED: dict[str, str] = {"deactivate": "inactive", "reactivate": "ready"}


class Changes:
    """Takes the wish to change an environment."""

    def __init__(
        self,
        *,
        database: Database,
        connections: Connections,
        catalogue: EnvironmentCatalogue,
        settings: BuildSettings,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._connections = connections
        self._catalogue = catalogue
        self._settings = settings
        self._wake = wake

    async def begin(self, caller: Caller, environment_id: str, kind: ActivityKind) -> Environment:
        """The environment, of which this is being done from now on, or was already.

        Raises NotFound, Forbidden, Conflict (`in-use`, or something else goes on), Unavailable.
        """
        seen = await self._catalogue.row(caller, environment_id)
        check_may_change(caller, seen.owner)
        used = await self._connections.latest(seen.profile_id)
        async with self._database.write() as connection:
            row = await rows.lock_environment(connection, environment_id)
            if row is None:
                raise no_such_environment(environment_id)
            if await _needed(connection, row, kind):
                new = NewActivity(
                    id=new_id(),
                    kind=kind,
                    environment_id=row.id,
                    caller=caller,
                    connection=used,
                    arguments=_arguments(row, kind, site_of(used, self._settings)),
                )
                await add_activity(connection, new)
                values: dict[str, Any] = {"state": _MEANWHILE[kind], "state_before": row.state, "activity_id": new.id}
                if kind == "delete":
                    values["identity"] = None  # from now on nobody is given this one
                await rows.move_environment(connection, row.id, **values, updated_at=time.time(), reason=None)
            failpoint("changes.storing")
        failpoint("changes.stored")
        self._wake()
        return await self._catalogue.shown(environment_id)


async def _needed(connection: AsyncConnection, row: EnvironmentRow, kind: ActivityKind) -> bool:
    """Whether something is to be done. Raises Conflict where it cannot be."""
    activity = await rows.find_activity(connection, row.activity_id)
    if activity is not None and activity.state not in FINAL_JOB_STATES:
        if activity.name == kind:
            return False
        raise Conflict(
            f"The environment cannot be changed now: activity {activity.id} ({activity.name}) goes on;"
            " wait for its end, or cancel it"
        )
    if row.reason is None and row.state == _REACHED.get(kind):
        return False
    unfinished = kind == "deactivate" and row.state == "inactive"  # an earlier attempt was not finished
    if row.state not in _FROM[kind] and not unfinished:
        raise Conflict(f"The environment is {row.state}: it cannot be {kind}d")
    if row.source == "existing" and kind == "reactivate":
        return True
    if (job_id := await rows.user_of(connection, row.id)) is not None:
        raise Conflict(f"Job {job_id} uses the environment; wait for its end, or cancel it", slug="in-use")
    return True


def _arguments(row: EnvironmentRow, kind: ActivityKind, site: Site) -> Arguments:
    made: Arguments = msgspec.json.decode(row.arguments)
    built = Built() if row.built is None else msgspec.json.decode(row.built, type=Built)
    if kind == "reactivate":
        if row.source == "existing":
            return made  # nothing was removed: it is looked at again
        return rebuilding(made, package=row.package, version=row.version, freeze=built.freeze, uv=site.uv)
    return removal(
        made, package=row.package, version=row.version if built.folder else None, keep=kind == "deactivate"
    )
