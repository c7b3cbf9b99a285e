"""What the poller answers over HTTP: what it watches, and how each resource is doing."""

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from services.poller.watcher import Watcher
from shared.contracts.watches import ResourceHealth, Watches
from shared.web.callers import services_only


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
