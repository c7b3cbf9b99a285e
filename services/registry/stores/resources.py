"""Resources."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, exc, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.registry.stores.paging import fetch_page
from services.registry.stores.usage import what_uses
from services.registry.stores.versions import check_version
from services.registry.stores.visibility import Visibility
from services.registry.tables import profiles, resources
from shared.service.database.transactions import Database
from shared.service.ids import new_id
from stoker.contracts.keys import Caller
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import Resource, ResourceSpec, ResourceType
from stoker.errors import Conflict, Invalid, NotFound

Expected = frozenset[str] | None


class ResourceStore:
    """All changes are one transaction each."""

    def __init__(self, database: Database, visibility: Visibility) -> None:
        self._database = database
        self._visibility = visibility

    async def create(self, spec: ResourceSpec) -> Resource:
        """Add a resource. Raises Invalid for a kind that is not served, Conflict for a name that is taken."""
        self._check_kind(spec)
        now = datetime.now(UTC)
        resource = Resource(
            id=new_id(), name=spec.name, type=type_of(spec), version=1, created_at=now, updated_at=now, spec=spec
        )
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(resources).values(**_columns(resource)))
        except exc.IntegrityError as error:
            raise _name_taken(spec.name) from error
        return resource

    async def get(self, resource_id: str, caller: Caller) -> Resource:
        """Return one that the caller may see. Raises NotFound."""
        visible = self._visibility.of_resources(caller)
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(resources).where(resources.c.id == resource_id, visible))
            ).one_or_none()
        if row is None:
            raise NotFound(f"there is no resource {resource_id}")
        return from_row(row)

    async def page(
        self, caller: Caller, *, kind: str | None, name: str | None, after: str | None, limit: int
    ) -> tuple[list[Resource], str | None]:
        """Return those that the caller may see, oldest first, and where the next page begins."""
        query = select(resources).where(self._visibility.of_resources(caller))
        if kind is not None:
            query = query.where(resources.c.type == kind)
        if name is not None:
            query = query.where(resources.c.name == name.strip())
        async with self._database.read() as connection:
            return await fetch_page(connection, query, resources.c.id, after=after, limit=limit, make=from_row)

    async def change(
        self, resource_id: str, make_spec: Callable[[ResourceSpec], ResourceSpec], expected: Expected
    ) -> Resource:
        """Store what `make_spec` makes of the present spec.

        Raises NotFound, Conflict (name taken, type of one with profiles, not the expected version), and whatever
        `make_spec` raises. Jobs that run keep the snapshot of the configuration that they began with.
        """
        try:
            async with self._database.write() as connection:
                present = await self._locked(connection, resource_id, expected)
                spec = make_spec(present.spec)
                if spec == present.spec:
                    return present
                self._check_kind(spec)
                if type_of(spec) != present.type:
                    await self._refuse_new_type(connection, present)
                changed = Resource(
                    id=present.id,
                    name=spec.name,
                    type=type_of(spec),
                    version=present.version + 1,
                    created_at=present.created_at,
                    updated_at=datetime.now(UTC),
                    spec=spec,
                )
                await connection.execute(
                    update(resources).where(resources.c.id == resource_id).values(**_columns(changed))
                )
        except exc.IntegrityError as error:
            raise _name_taken(spec.name) from error
        return changed

    async def delete(self, resource_id: str, expected: Expected) -> None:
        """Remove one. Raises NotFound, Conflict (`in-use`, naming the profiles and holds; or not this version)."""
        async with self._database.write() as connection:
            resource = await self._locked(connection, resource_id, expected)
            uses = await what_uses(connection, resource_id=resource_id)
            if uses:
                raise Conflict(f"the resource {resource.name!r} is in use: {uses}", slug="in-use")
            await connection.execute(delete(resources).where(resources.c.id == resource_id))

    async def _locked(self, connection: AsyncConnection, resource_id: str, expected: Expected) -> Resource:
        query = self._database.locked(select(resources).where(resources.c.id == resource_id))
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(f"there is no resource {resource_id}")
        check_version(row.version, expected)
        return from_row(row)

    async def _refuse_new_type(self, connection: AsyncConnection, resource: Resource) -> None:
        query = select(profiles.c.id).where(profiles.c.resource_id == resource.id).limit(1)
        if (await connection.execute(query)).first() is not None:
            raise Conflict(f"the type of {resource.name!r} cannot change while it has profiles", slug="in-use")

    def _check_kind(self, spec: ResourceSpec) -> None:
        served = self._visibility.resource_types
        if type_of(spec) not in served:
            kinds = ", ".join(sorted(served))
            wrong = FieldError("type", f"this instance serves {kinds} only (STOKER_RESOURCE_TYPES)")
            raise Invalid(f"resources of type {type_of(spec)} are not served here", [wrong])


def type_of(spec: ResourceSpec) -> ResourceType:
    """Return the resource's kind, which is its struct's tag."""
    kind: ResourceType = spec.__struct_config__.tag  # type: ignore[assignment]
    return kind


def from_row(row: Row[Any]) -> Resource:
    """Return the resource in a row of `resources`."""
    return Resource(**row._mapping)  # noqa: SLF001 - documented


def _columns(resource: Resource) -> dict[str, Any]:
    return {column.name: getattr(resource, column.name) for column in resources.c}


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"there is a resource named {name!r} already",
        slug="duplicate-name",
        errors=[FieldError("name", "must be another than that of any other resource")],
    )
