"""Who sees environments, and who may have which made."""

from typing import TypeVar

from services.executor.repositories.rows import ActivityRow, EnvironmentRow
from shared.service.connections import Connections
from stoker.contracts.environments import EnvironmentCreate, EnvironmentFromPypi
from stoker.contracts.holds import Connection
from stoker.contracts.keys import Caller
from stoker.contracts.resources import SlurmSudoResourceSpec
from stoker.errors import Forbidden, NotFound

OnResource = TypeVar("OnResource", EnvironmentRow, ActivityRow)


class Access:
    """Users see the environments of the resources that they have a profile on; whoever made one may change it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def resources(self, caller: Caller) -> frozenset[str] | None:
        """Ids of the resources whose environments exist for this caller; None: all. Raises Unavailable."""
        if caller.role != "user":
            return None
        found = set()
        for profile_id in caller.profile_ids:
            try:
                found.add((await self._connections.current(profile_id)).resource.id)
            except NotFound:
                continue  # granted, and removed since
        return frozenset(found)

    async def require(self, caller: Caller, row: OnResource | None, missing: NotFound) -> OnResource:
        """The row, if it exists for this caller. Raises `missing`, Unavailable."""
        if row is None:
            raise missing
        resources = await self.resources(caller)
        if resources is not None and row.resource_id not in resources:
            raise missing
        return row


def check_may_change(caller: Caller, owner: str) -> None:
    """Raise Forbidden unless the caller made it, or is an administrator."""
    if caller.role == "service":
        raise Forbidden("environments are changed with an admin's or a user's key")
    if caller.role == "user" and caller.owner != owner:
        raise Forbidden(f"only {owner}, who made it, and administrators may do that")


def only_wheels(caller: Caller, connection: Connection) -> bool:
    """Whether nothing but wheels may be installed for this caller, because builds run as the service itself."""
    spec = connection.resource.spec
    return caller.role == "user" and isinstance(spec, SlurmSudoResourceSpec) and not isinstance(spec.tasks_user, str)


def check_may_create(caller: Caller, connection: Connection, create: EnvironmentCreate) -> None:
    """Raise Forbidden where what the caller sends would be run by the service's own user."""
    if only_wheels(caller, connection) and not isinstance(create, EnvironmentFromPypi):
        raise Forbidden(
            "on this resource environments are made by the service's own user: with a user's key from packages of"
            " the index only (an administrator can set tasks_user, or make it)"
        )
