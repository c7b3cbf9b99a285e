"""What the poller answers over HTTP: what it watches, how each resource is doing, and the clusters' queues."""

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from services.poller.cluster.queues import Position, Queues
from services.poller.watcher import Watcher
from shared.service.web.access.callers import services_only
from shared.service.web.cursors import DEFAULT_LIMIT, Cursor, Limit, decode_cursor
from stoker.contracts.keys import Caller
from stoker.contracts.queues import ClusterQueue
from stoker.contracts.watches import ResourceHealth, Watches


class WatchesController(Controller):
    """For services and administrators."""

    path = "/v1"
    tags = ("watches",)
    guards = (services_only,)

    @get("/watches", summary="What is watched, since when, and how each resource is doing")
    async def watches(self, watcher: NamedDependency[SkipValidation[Watcher]]) -> Watches:
        """Return one entry per profile with batches on the watch list."""
        return watcher.describe()

    @get("/resources-health", summary="Whether each profile's resource can be reached, and since when")
    async def resources_health(self, watcher: NamedDependency[SkipValidation[Watcher]]) -> list[ResourceHealth]:
        """Return one entry per profile that is watched, or was within the last hour."""
        return watcher.health.all()


class QueuesController(Controller):
    """For whoever has a profile there."""

    path = "/v1/queues"
    tags = ("queues",)

    @get("/{resource_id:str}", opt={"more_problems": (503,)}, summary="A cluster's queue, as it was last seen")
    async def queue(
        self,
        caller: NamedDependency[SkipValidation[Caller]],
        queues: NamedDependency[SkipValidation[Queues]],
        resource_id: FromPath[str],
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> ClusterQueue:
        """The look is one that the poller takes anyway while jobs run there; see `age_seconds`.

        Users are not told whose the jobs of other users are.
        """
        return await queues.page(caller, resource_id, after=decode_cursor(cursor, Position), limit=limit)
