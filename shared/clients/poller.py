"""The poller: what it watches, and how each resource is doing."""

from shared.clients.base import ServiceClient
from shared.contracts.watches import ResourceHealth, Watches


class PollerClient(ServiceClient):
    """Calls of the poller. Errors: Unauthorized, Forbidden, Unavailable."""

    service = "poller"

    async def watches(self) -> Watches:
        """What is watched and since when (services and administrators)."""
        return await self._get("/v1/watches", Watches)

    async def resources_health(self) -> list[ResourceHealth]:
        """How each profile's connection is doing (services and administrators)."""
        return await self._get("/v1/resources-health", list[ResourceHealth])
