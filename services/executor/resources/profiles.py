"""Profiles that a caller may use."""

from services.executor.model.missing import no_such_profile
from shared.service.connections import Connections
from stoker.contracts.holds import Connection
from stoker.contracts.keys import Caller
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import ResourceType
from stoker.errors import Conflict, Forbidden, Invalid, NotFound


class Profiles:
    """Looks profiles up for callers: those that do not exist and those that are not granted are told alike."""

    def __init__(self, connections: Connections, resource_types: frozenset[ResourceType]) -> None:
        self._connections = connections
        self._resource_types = resource_types

    async def visible(self, caller: Caller, profile_id: str) -> Connection:
        """The connection of a profile as it is at this moment. Raises NotFound, Unavailable."""
        if caller.role == "user" and profile_id not in caller.profile_ids:
            raise no_such_profile(profile_id)
        try:
            return await self._connections.latest(profile_id)
        except NotFound:
            raise no_such_profile(profile_id) from None

    async def usable(self, caller: Caller, profile_id: str) -> Connection:
        """The same of a profile that this caller may submit to now.

        Raises Forbidden, NotFound, Invalid (not served here), Conflict (`submissions-prevented`), Unavailable.
        """
        if caller.role == "service":
            raise Forbidden("jobs are submitted with an admin's or a user's key")
        connection = await self.visible(caller, profile_id)
        kind = connection.resource.type
        if kind not in self._resource_types:
            served = ", ".join(sorted(self._resource_types))
            message = f"is a profile of a {kind} resource, on which this instance cannot run jobs (served: {served})"
            raise Invalid("Jobs cannot run there", [FieldError("profile_id", message)])
        if connection.resource.spec.prevent_new_submissions is True:
            raise Conflict(
                f"The resource {connection.resource.name!r} takes no new jobs (prevent_new_submissions); "
                "jobs that were accepted before go on",
                slug="submissions-prevented",
            )
        return connection
