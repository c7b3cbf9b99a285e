"""What callers may look at: environments, their tasks and activities."""

from collections.abc import Callable

import msgspec

from services.executor.building.results import Built
from services.executor.environments.access import Access
from services.executor.environments.views import show_activity, show_environment, show_task
from services.executor.model.missing import check_id, no_such_activity, no_such_environment
from services.executor.repositories import environments as rows
from services.executor.repositories.rows import ActivityRow, EnvironmentRow
from shared.service.database.transactions import Database
from stoker.contracts.environments import FINAL_ACTIVITY_STATES, Activity, Environment, Freeze
from stoker.contracts.keys import Caller
from stoker.contracts.tasks import Task
from stoker.errors import Conflict


class EnvironmentCatalogue:
    """Reads; every method raises NotFound for what the caller must not see, and Unavailable.

    `trouble` says why nothing is heard of what a profile's connection leads to (None while all is well).
    """

    def __init__(self, database: Database, access: Access, trouble: Callable[[str], str | None]) -> None:
        self._database = database
        self._access = access
        self._trouble = trouble

    async def row(self, caller: Caller, environment_id: str) -> EnvironmentRow:
        """An environment's row."""
        missing = no_such_environment(environment_id)
        check_id(environment_id, missing)
        async with self._database.read() as connection:
            row = await rows.find_environment(connection, environment_id)
        return await self._access.require(caller, row, missing)

    async def environment(self, caller: Caller, environment_id: str) -> Environment:
        """One environment."""
        await self.row(caller, environment_id)
        return await self.shown(environment_id)

    async def shown(self, environment_id: str) -> Environment:
        """One environment, whoever asks."""
        async with self._database.read() as connection:
            row, before = await rows.find_environment(connection, environment_id), None
            # Environment and activity move together, but are read one after the other: again, until nothing moved.
            while row is not None and row != before:
                names = await rows.task_names(connection, [row.id])
                activity = await rows.find_activity(connection, row.activity_id)
                row, before = await rows.find_environment(connection, environment_id), row
        if row is None:
            raise no_such_environment(environment_id)
        return show_environment(row, names.get(row.id, []), self._shown_activity(activity))

    async def environments(
        self, caller: Caller, wanted: rows.EnvironmentFilter, *, before_id: str | None, limit: int
    ) -> tuple[list[Environment], str | None]:
        """Environments behind an id, the newest first, and the id behind which there are more."""
        wanted = msgspec.structs.replace(wanted, resource_ids=await self._access.resources(caller))
        async with self._database.read() as connection:
            found = await rows.list_environments(connection, wanted, before_id=before_id, limit=limit + 1)
            shown = found[:limit]
            names = await rows.task_names(connection, [row.id for row in shown])
            activities = await rows.activities_by_id(connection, [row.activity_id for row in shown])
        items = [
            show_environment(row, names.get(row.id, []), self._shown_activity(activities.get(row.activity_id)))
            for row in shown
        ]
        return items, items[-1].id if len(found) > limit else None

    async def tasks(
        self, caller: Caller, wanted: rows.TaskFilter, *, after_id: str | None, limit: int
    ) -> tuple[list[Task], str | None]:
        """Tasks behind an id, and the id behind which there are more."""
        wanted = msgspec.structs.replace(wanted, resource_ids=await self._access.resources(caller))
        async with self._database.read() as connection:
            found = await rows.list_tasks(connection, wanted, after_id=after_id, limit=limit + 1)
        items = [show_task(row) for row in found[:limit]]
        return items, items[-1].id if len(found) > limit else None

    async def freeze(self, caller: Caller, environment_id: str) -> Freeze:
        """Exactly what is in an environment. Conflict: it was never made."""
        row = await self.row(caller, environment_id)
        built = None if row.built is None else msgspec.json.decode(row.built, type=Built)
        if built is None or built.freeze is None:
            raise Conflict(f"The environment was never made: it is {row.state}")
        return Freeze(freeze=built.freeze, freeze_sha256=built.freeze_sha256 or "", lock=built.lock)

    async def activities(
        self, caller: Caller, environment_id: str, *, before_id: str | None, limit: int
    ) -> tuple[list[Activity], str | None]:
        """Activities of an environment behind an id, the newest first, and the id behind which there are more."""
        await self.row(caller, environment_id)
        async with self._database.read() as connection:
            found = await rows.list_activities(connection, environment_id, before_id=before_id, limit=limit + 1)
        items = [self._told(row) for row in found[:limit]]
        return items, items[-1].id if len(found) > limit else None

    async def activity_row(self, caller: Caller, activity_id: str) -> ActivityRow:
        """An activity's row; of environments that are gone, too."""
        missing = no_such_activity(activity_id)
        check_id(activity_id, missing)
        async with self._database.read() as connection:
            row = await rows.find_activity(connection, activity_id)
        return await self._access.require(caller, row, missing)

    async def activity(self, caller: Caller, activity_id: str) -> Activity:
        """One activity."""
        return self._told(await self.activity_row(caller, activity_id))

    def _shown_activity(self, row: ActivityRow | None) -> Activity | None:
        return None if row is None else self._told(row)

    def _told(self, row: ActivityRow) -> Activity:
        """The activity; while nothing is heard of it, it says so instead of what it waited for when something was."""
        activity = show_activity(row)
        if activity.state not in FINAL_ACTIVITY_STATES and (trouble := self._trouble(row.profile_id)):
            return msgspec.structs.replace(activity, waiting_for=trouble)
        return activity
