"""Access keys. The key itself is made here, told once, and forgotten; its SHA-256 is what is kept."""

import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UnsetType
from sqlalchemy import Row, bindparam, delete, exc, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.registry.stores.paging import fetch_page
from services.registry.stores.visibility import Visibility
from services.registry.tables import access_keys, grants, profiles
from shared.service.database.transactions import Database
from shared.service.ids import new_id
from shared.service.web.access.callers import key_sha256
from stoker.contracts.keys import AccessKey, AccessKeyCreate, AccessKeyPatch, Caller, NewAccessKey, Role
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid, NotFound

_SECRET_BYTES = 32
_COLUMNS = [column for column in access_keys.c if column.name != "key_sha256"]


class AccessKeyStore:
    """All changes are one transaction each."""

    def __init__(self, database: Database, visibility: Visibility) -> None:
        self._database = database
        self._visibility = visibility

    async def create(self, new: AccessKeyCreate) -> NewAccessKey:
        """Make a key. Raises Invalid (profiles that cannot be granted, expiry in the past)."""
        now = datetime.now(UTC)
        name = new.name.strip()
        access_key = AccessKey(
            id=new_id(),
            name=name,
            role=new.role,
            owner=(new.owner or name).strip(),
            profile_ids=list(dict.fromkeys(new.profile_ids)),
            created_at=now,
            expires_at=new.expires_at,
        )
        key = f"stk_{access_key.id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        values = {column.name: getattr(access_key, column.name) for column in _COLUMNS}
        async with self._changes() as connection:
            errors = _expiry_errors(new.expires_at) + await self._grant_errors(connection, new.role, new.profile_ids)
            if errors:
                raise Invalid("the access key is not valid", errors)
            await connection.execute(insert(access_keys).values(**values, key_sha256=key_sha256(key)))
            await _grant(connection, access_key.id, new.profile_ids)
        return NewAccessKey(access_key=access_key, key=key)

    async def get(self, key_id: str) -> AccessKey:
        """Return one. Raises NotFound."""
        async with self._database.read() as connection:
            return await self._one(connection, key_id)

    async def page(self, *, after: str | None, limit: int) -> tuple[list[AccessKey], str | None]:
        """Return keys, oldest first, and where the next page begins."""
        async with self._database.snapshot() as connection:
            keys, last = await fetch_page(
                connection, select(*_COLUMNS), access_keys.c.id, after=after, limit=limit, make=_from_row
            )
            granted = await _granted(connection, [key.id for key in keys])
        return [msgspec.structs.replace(key, profile_ids=granted.get(key.id, [])) for key in keys], last

    async def change(self, key_id: str, patch: AccessKeyPatch) -> AccessKey:
        """Change what is granted, or the expiry. Raises NotFound, Invalid."""
        async with self._changes() as connection:
            query = select(access_keys.c.role).where(access_keys.c.id == key_id)
            role = (await connection.execute(self._database.locked(query))).scalar_one_or_none()
            if role is None:
                raise NotFound(f"there is no access key {key_id}")
            errors: list[FieldError] = []
            if not isinstance(patch.expires_at, UnsetType):
                errors += _expiry_errors(patch.expires_at)
                changed = update(access_keys).where(access_keys.c.id == key_id)
                await connection.execute(changed.values(expires_at=patch.expires_at))
            if not isinstance(patch.profile_ids, UnsetType):
                errors += await self._grant_errors(connection, role, patch.profile_ids)
                await connection.execute(delete(grants).where(grants.c.key_id == key_id))
                if not errors:
                    await _grant(connection, key_id, patch.profile_ids)
            if errors:
                raise Invalid("the change is not valid", errors)
            return await self._one(connection, key_id)

    async def delete(self, key_id: str) -> None:
        """Revoke one. Raises NotFound."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(access_keys).where(access_keys.c.id == key_id))
            if result.rowcount == 0:
                raise NotFound(f"there is no access key {key_id}")

    async def caller(self, sha256: str) -> Caller | None:
        """Return whose key has this SHA-256, or None when there is none, or it has expired."""
        query = select(*_COLUMNS).where(access_keys.c.key_sha256 == sha256)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None or (row.expires_at is not None and row.expires_at <= datetime.now(UTC)):
                return None
            granted: Iterable[str] = ()
            if row.role == "user":
                granted = (await connection.execute(self._visibility.granted_profiles(row.id))).scalars()
            return Caller(
                key_id=row.id,
                role=row.role,
                owner=row.owner,
                profile_ids=frozenset(granted),
                expires_at=row.expires_at,
            )

    async def exists(self, role: Role) -> bool:
        """Say whether there is a key of this role."""
        async with self._database.read() as connection:
            query = select(access_keys.c.id).where(access_keys.c.role == role).limit(1)
            return (await connection.execute(query)).first() is not None

    async def store_uses(self, last_used: dict[str, datetime]) -> None:
        """Write when keys were last used; those that were deleted meanwhile are skipped."""
        statement = (
            update(access_keys)
            .where(access_keys.c.id == bindparam("key_id"))
            .values(last_used_at=bindparam("used_at"))
        )
        rows = [{"key_id": key_id, "used_at": used_at} for key_id, used_at in last_used.items()]
        async with self._database.write() as connection:
            await connection.execute(statement, rows)

    async def _one(self, connection: AsyncConnection, key_id: str) -> AccessKey:
        row = (await connection.execute(select(*_COLUMNS).where(access_keys.c.id == key_id))).one_or_none()
        if row is None:
            raise NotFound(f"there is no access key {key_id}")
        granted = await _granted(connection, [key_id])
        return msgspec.structs.replace(_from_row(row), profile_ids=granted.get(key_id, []))

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._database.write() as connection:
                yield connection
        except exc.IntegrityError as error:
            wrong = FieldError("profile_ids", "must be ids of profiles: one was deleted just now")
            raise Invalid("these profiles cannot be granted", [wrong]) from error

    async def _grant_errors(self, connection: AsyncConnection, role: Role, ids: list[str]) -> list[FieldError]:
        if not ids:
            return []
        if role != "user":
            return [FieldError("profile_ids", f"must be empty: a key with role {role} sees every profile")]
        found = select(profiles.c.id, profiles.c.resource_type).where(profiles.c.id.in_(ids))
        kinds = {row.id: row.resource_type for row in await connection.execute(found)}
        errors = []
        for index, profile_id in enumerate(ids):
            if profile_id not in kinds:
                errors.append(FieldError(f"profile_ids[{index}]", "must be the id of a profile"))
            elif kinds[profile_id] == "local" and self._visibility.local_is_for_admins:
                errors.append(FieldError(f"profile_ids[{index}]", _LOCAL_FOR_ADMINS))
        return errors


_LOCAL_FOR_ADMINS = (
    "is a local profile, which only admin keys may use here: its units run as the service's own user, beside what "
    "other kinds of resource need (an instance with STOKER_RESOURCE_TYPES=local can grant it)"
)


def _from_row(row: Row[Any]) -> AccessKey:
    return AccessKey(profile_ids=[], **row._mapping)  # noqa: SLF001 - documented


async def _granted(connection: AsyncConnection, key_ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    query = select(grants).where(grants.c.key_id.in_(key_ids)).order_by(grants.c.profile_id)
    for row in await connection.execute(query):
        found.setdefault(row.key_id, []).append(row.profile_id)
    return found


async def _grant(connection: AsyncConnection, key_id: str, ids: list[str]) -> None:
    rows = [{"key_id": key_id, "profile_id": profile_id} for profile_id in dict.fromkeys(ids)]
    if rows:
        await connection.execute(insert(grants), rows)


def _expiry_errors(expires_at: datetime | None) -> list[FieldError]:
    if expires_at is not None and expires_at.tzinfo is None:
        return [FieldError("expires_at", 'needs a time zone, such as "2026-01-31T12:00:00Z"')]
    if expires_at is not None and expires_at <= datetime.now(UTC):
        return [FieldError("expires_at", "must be in the future")]
    return []
