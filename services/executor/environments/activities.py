"""Logs of activities, and cancelling them."""

import asyncio
from collections.abc import AsyncGenerator

from services.executor.environments.access import check_may_change
from services.executor.environments.catalogue import EnvironmentCatalogue
from services.executor.jobs.cancellation import Cancellation
from services.executor.model.missing import no_such_activity
from services.executor.outputs.unit_log import UnitLogs, Wanted
from services.executor.repositories.jobs import find_activity_source
from shared.service.database.transactions import Database
from stoker.contracts.environments import Activity
from stoker.contracts.keys import Caller


class Activities:
    """Every method raises NotFound for what the caller must not see, and Unavailable."""

    def __init__(
        self, database: Database, catalogue: EnvironmentCatalogue, logs: UnitLogs, cancellation: Cancellation
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._logs = logs
        self._cancellation = cancellation

    async def log(
        self, caller: Caller, activity_id: str, wanted: Wanted, stopping: asyncio.Event
    ) -> tuple[int, AsyncGenerator[bytes, None]]:
        """The log's length now, in bytes, and its bytes exactly as they are."""
        await self._catalogue.activity_row(caller, activity_id)
        async with self._database.read() as connection:
            source = await find_activity_source(connection, activity_id)
        if source is None:
            raise no_such_activity(activity_id)
        return await self._logs.of_unit(source, 0, wanted, stopping)

    async def cancel(self, caller: Caller, activity_id: str) -> Activity:
        """The activity, which is being cancelled from now on or was already. Raises Forbidden, Conflict (ended)."""
        row = await self._catalogue.activity_row(caller, activity_id)
        check_may_change(caller, row.owner)
        await self._cancellation.of_activity(caller, activity_id)
        return await self._catalogue.activity(caller, activity_id)
