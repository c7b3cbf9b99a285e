"""Which rows a caller sees: administrators and services all, users what was granted to them."""

from typing import Any

from sqlalchemy import ColumnElement, Select, exists, select, true

from services.registry.tables import grants, profiles, resources
from stoker.contracts.keys import Caller
from stoker.contracts.resources import ResourceType


class Visibility:
    """Where other kinds are served beside local, local profiles are for administrators only.

    Local units run as the service's own user, which holds SSH keys and the sudo rule. Granting one to a user is
    refused; a grant from before other kinds were switched on counts for nothing.
    """

    def __init__(self, resource_types: frozenset[ResourceType]) -> None:
        self.resource_types = resource_types
        self.local_is_for_admins = resource_types != {"local"}

    def granted_profiles(self, key_id: str) -> Select[Any]:
        """Select the ids of the profiles that a user's key may use."""
        query = (
            select(grants.c.profile_id)
            .join(profiles, profiles.c.id == grants.c.profile_id)
            .where(grants.c.key_id == key_id)
        )
        return query.where(profiles.c.resource_type != "local") if self.local_is_for_admins else query

    def of_profiles(self, caller: Caller) -> ColumnElement[bool]:
        """Return the condition on `profiles`."""
        if caller.role != "user":
            return true()
        return profiles.c.id.in_(self.granted_profiles(caller.key_id))

    def of_resources(self, caller: Caller) -> ColumnElement[bool]:
        """Return the condition on `resources`."""
        if caller.role != "user":
            return true()
        return exists(
            select(profiles.c.id).where(
                profiles.c.resource_id == resources.c.id,
                profiles.c.id.in_(self.granted_profiles(caller.key_id)),
            )
        )
