"""Profiles."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, exc, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.registry.stores.paging import fetch_page
from services.registry.stores.resources import Expected
from services.registry.stores.usage import what_uses
from services.registry.stores.versions import check_version
from services.registry.stores.visibility import Visibility
from services.registry.tables import profiles, resources
from shared.service.database.transactions import Database
from shared.service.ids import new_id
from stoker.contracts.keys import Caller
from stoker.contracts.problems import FieldError
from stoker.contracts.profiles import Profile, ProfileSpec
from stoker.contracts.resources import ResourceType
from stoker.errors import Conflict, Invalid, NotFound


class ProfileStore:
    """All changes are one transaction each."""

    def __init__(self, database: Database, visibility: Visibility) -> None:
        self._database = database
        self._visibility = visibility

    async def create(self, resource_id: str, spec: ProfileSpec) -> Profile:
        """Add a profile to a resource. Raises NotFound, Invalid (type), Conflict (name taken)."""
        now = datetime.now(UTC)
        try:
            async with self._database.write() as connection:
                # Locked, so that the resource keeps its type until this is committed.
                query = self._database.locked(select(resources.c.type).where(resources.c.id == resource_id))
                resource_type = (await connection.execute(query)).scalar_one_or_none()
                if resource_type is None:
                    raise NotFound(f"there is no resource {resource_id}")
                _check_type(spec, resource_type)
                profile = Profile(
                    id=new_id(),
                    resource_id=resource_id,
                    name=spec.name,
                    resource_type=resource_type,
                    version=1,
                    created_at=now,
                    updated_at=now,
                    spec=spec,
                )
                await connection.execute(insert(profiles).values(**_columns(profile)))
        except exc.IntegrityError as error:
            raise _name_taken(spec.name) from error
        return profile

    async def get(self, profile_id: str, caller: Caller) -> Profile:
        """Return one that the caller may see. Raises NotFound."""
        visible = self._visibility.of_profiles(caller)
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(profiles).where(profiles.c.id == profile_id, visible))
            ).one_or_none()
        if row is None:
            raise NotFound(f"there is no profile {profile_id}")
        return from_row(row)

    async def page(
        self, caller: Caller, *, resource_id: str | None, name: str | None, after: str | None, limit: int
    ) -> tuple[list[Profile], str | None]:
        """Return those that the caller may see, oldest first, and where the next page begins."""
        query = select(profiles).where(self._visibility.of_profiles(caller))
        if resource_id is not None:
            query = query.where(profiles.c.resource_id == resource_id)
        if name is not None:
            query = query.where(profiles.c.name == name.strip())
        async with self._database.read() as connection:
            return await fetch_page(connection, query, profiles.c.id, after=after, limit=limit, make=from_row)

    async def change(
        self, profile_id: str, make_spec: Callable[[ProfileSpec], ProfileSpec], expected: Expected
    ) -> Profile:
        """Store what `make_spec` makes of the present spec; how to connect changes for running jobs, too.

        Raises NotFound, Invalid (type), Conflict (name taken, not the expected version), and what `make_spec` raises.
        """
        try:
            async with self._database.write() as connection:
                present = await self._locked(connection, profile_id, expected)
                spec = make_spec(present.spec)
                if spec == present.spec:
                    return present
                _check_type(spec, present.resource_type)
                changed = Profile(
                    id=present.id,
                    resource_id=present.resource_id,
                    name=spec.name,
                    resource_type=present.resource_type,
                    version=present.version + 1,
                    created_at=present.created_at,
                    updated_at=datetime.now(UTC),
                    spec=spec,
                )
                await connection.execute(
                    update(profiles).where(profiles.c.id == profile_id).values(**_columns(changed))
                )
        except exc.IntegrityError as error:
            raise _name_taken(spec.name) from error
        return changed

    async def delete(self, profile_id: str, expected: Expected) -> None:
        """Remove one, and what was granted of it. Raises NotFound, Conflict (`in-use`, naming the holders)."""
        try:
            async with self._database.write() as connection:
                profile = await self._locked(connection, profile_id, expected)
                uses = await what_uses(connection, profile_id=profile_id)
                if uses:
                    raise Conflict(f"the profile {profile.name!r} is in use: {uses}", slug="in-use")
                await connection.execute(delete(profiles).where(profiles.c.id == profile_id))
        except exc.IntegrityError as error:
            raise Conflict("the profile is in use: it has just been held", slug="in-use") from error

    async def _locked(self, connection: AsyncConnection, profile_id: str, expected: Expected) -> Profile:
        query = self._database.locked(select(profiles).where(profiles.c.id == profile_id))
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(f"there is no profile {profile_id}")
        check_version(row.version, expected)
        return from_row(row)


def from_row(row: Row[Any]) -> Profile:
    """Return the profile in a row of `profiles`."""
    return Profile(**row._mapping)  # noqa: SLF001 - documented


def _columns(profile: Profile) -> dict[str, Any]:
    return {column.name: getattr(profile, column.name) for column in profiles.c}


def _check_type(spec: ProfileSpec, resource_type: ResourceType) -> None:
    tag = spec.__struct_config__.tag
    if tag != resource_type:
        wrong = FieldError("resource_type", f'must be "{resource_type}", the type of the resource')
        raise Invalid(f"a {tag} profile does not fit a {resource_type} resource", [wrong])


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"there is a profile named {name!r} already",
        slug="duplicate-name",
        errors=[FieldError("name", "must be another than that of any other profile")],
    )
