"""The poller: what it watches, how each resource is doing, and the clusters' queues."""

from urllib.parse import quote

from stoker.clients.base import ServiceClient
from stoker.contracts.queues import ClusterQueue
from stoker.contracts.watches import ResourceHealth, Watches


class PollerClient(ServiceClient):
    """Calls of the poller. Errors: Unauthorized, Forbidden, NotFound, Unavailable."""

    service = "poller"

    async def watches(self) -> Watches:
        """What is watched and since when (services and administrators)."""
        return await self._get("/v1/watches", Watches)

    async def resources_health(self) -> list[ResourceHealth]:
        """How each profile's connection is doing (services and administrators)."""
        return await self._get("/v1/resources-health", list[ResourceHealth])

    async def queue(self, resource_id: str, *, cursor: str | None = None, limit: int | None = None) -> ClusterQueue:
        """One page of a cluster's queue, as the poller saw it last. NotFound where it does not look."""
        path = f"/v1/queues/{quote(resource_id, safe='')}"
        return await self._get(path, ClusterQueue, {"cursor": cursor, "limit": limit})
