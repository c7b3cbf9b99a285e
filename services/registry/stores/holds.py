"""Holds, and the connections that they are about."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, exc, insert, select

from services.registry.stores import profiles as profile_rows
from services.registry.stores import resources as resource_rows
from services.registry.stores.paging import fetch_page
from services.registry.stores.visibility import Visibility
from services.registry.tables import holds, profiles, resources
from shared.service.database.transactions import Database
from stoker.contracts.holds import Connection, Hold
from stoker.errors import Conflict, NotFound


class HoldStore:
    """A hold keeps a profile and its resource from being deleted."""

    def __init__(self, database: Database, visibility: Visibility) -> None:
        self._database = database
        self._visibility = visibility

    async def put(self, token: str, holder: str, profile_id: str) -> Hold:
        """Take a hold; repeating it changes nothing.

        Raises NotFound (no such profile: too late), Conflict (the token is somebody else's, or for another profile).
        """
        wanted = select(profiles.c.resource_id).where(profiles.c.id == profile_id)
        try:
            async with self._database.write() as connection:
                row = (await connection.execute(select(holds).where(holds.c.token == token))).one_or_none()
                if row is not None:
                    return _same(_from_row(row), holder, profile_id)
                resource_id = (await connection.execute(self._database.locked(wanted))).scalar_one_or_none()
                if resource_id is None:
                    raise NotFound(f"there is no profile {profile_id}")
                hold = Hold(
                    token=token,
                    holder=holder,
                    profile_id=profile_id,
                    resource_id=resource_id,
                    created_at=datetime.now(UTC),
                )
                values = {field: getattr(hold, field) for field in hold.__struct_fields__}
                await connection.execute(insert(holds).values(**values))
        except exc.IntegrityError:
            # Somebody put the same token at the same moment (a repeated call, most likely).
            return _same(await self.get(token), holder, profile_id)
        return hold

    async def get(self, token: str) -> Hold:
        """Return one. Raises NotFound."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(holds).where(holds.c.token == token))).one_or_none()
        if row is None:
            raise NotFound("there is no such hold")
        return _from_row(row)

    async def page(self, *, holder: str | None, after: str | None, limit: int) -> tuple[list[Hold], str | None]:
        """Return holds in the order of their tokens, and where the next page begins."""
        query = select(holds) if holder is None else select(holds).where(holds.c.holder == holder)
        async with self._database.read() as connection:
            return await fetch_page(connection, query, holds.c.token, after=after, limit=limit, make=_from_row)

    async def delete(self, token: str) -> None:
        """Release one. Raises NotFound."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(holds).where(holds.c.token == token))
            if result.rowcount == 0:
                raise NotFound("there is no such hold")

    async def connection(self, profile_id: str) -> Connection:
        """Return a profile with its resource. Raises NotFound, Conflict (a kind that is not served here)."""
        async with self._database.snapshot() as connection:
            profile = (await connection.execute(select(profiles).where(profiles.c.id == profile_id))).one_or_none()
            if profile is None:
                raise NotFound(f"there is no profile {profile_id}")
            resource = (
                await connection.execute(select(resources).where(resources.c.id == profile.resource_id))
            ).one()
        if resource.type not in self._visibility.resource_types:
            raise Conflict(f"resources of type {resource.type} are not served here (STOKER_RESOURCE_TYPES)")
        return Connection(resource=resource_rows.from_row(resource), profile=profile_rows.from_row(profile))


def _from_row(row: Row[Any]) -> Hold:
    return Hold(**row._mapping)  # noqa: SLF001 - documented


def _same(hold: Hold, holder: str, profile_id: str) -> Hold:
    if (hold.holder, hold.profile_id) != (holder, profile_id):
        raise Conflict("this token holds something else already")
    return hold
