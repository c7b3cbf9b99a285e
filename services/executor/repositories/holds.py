"""Which profiles this executor holds in the registry, and under which token."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.model.states import FINAL_JOB_STATES
from services.executor.repositories.rows import HoldRow
from services.executor.repositories.tables import environments, jobs, profile_holds

HELD, RELEASING = "held", "releasing"


async def is_held(connection: AsyncConnection, profile_id: str, *, keep: bool = False) -> bool:
    """Whether the profile is held; with `keep`, nobody else can change that until the transaction ends."""
    query = select(profile_holds.c.token).where(
        profile_holds.c.profile_id == profile_id, profile_holds.c.state == HELD
    )
    if keep:
        query = query.with_for_update(read=True)
    return (await connection.execute(query)).one_or_none() is not None


async def take(connection: AsyncConnection, profile_id: str, resource_id: str, token: str) -> None:
    """Note that `token`, which the registry knows, holds the profile, unless another token does already.

    Nobody else can change the row until the transaction ends, whichever it was.
    """
    insertion = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insertion(profile_holds).values(
        profile_id=profile_id, resource_id=resource_id, token=token, state=HELD
    )
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["profile_id"],
            set_={"resource_id": resource_id, "token": token, "state": HELD},
            where=profile_holds.c.state == RELEASING,
        )
    )


_USES = (jobs.c.kind != "activity") | jobs.c.state.not_in(FINAL_JOB_STATES)
"""What was done to an environment needs nobody any more once it has ended: only its log is left of it."""


async def unused(connection: AsyncConnection) -> Sequence[str]:
    """Ids of the held profiles that no job, no environment and no activity that goes on names."""
    query = select(profile_holds.c.profile_id).where(
        profile_holds.c.state == HELD,
        ~exists().where(jobs.c.profile_id == profile_holds.c.profile_id, _USES),
        ~exists().where(environments.c.profile_id == profile_holds.c.profile_id),
    )
    return (await connection.execute(query)).scalars().all()


async def start_releasing(connection: AsyncConnection, profile_id: str) -> bool:
    """Mark a held profile as being released, if nothing uses it (see `unused`): looked at with the row locked."""
    row = select(profile_holds.c.token).where(profile_holds.c.profile_id == profile_id, profile_holds.c.state == HELD)
    if (await connection.execute(row.with_for_update())).one_or_none() is None:
        return False
    # A statement of its own: what was committed while we waited for the lock is seen only by a later one.
    for used in (
        select(jobs.c.id).where(jobs.c.profile_id == profile_id, _USES).limit(1),
        select(environments.c.id).where(environments.c.profile_id == profile_id).limit(1),
    ):
        if (await connection.execute(used)).one_or_none() is not None:
            return False
    statement = update(profile_holds).where(profile_holds.c.profile_id == profile_id)
    await connection.execute(statement.values(state=RELEASING))
    return True


async def all_holds(connection: AsyncConnection) -> list[HoldRow]:
    """Every row."""
    query: Select[*tuple[Any, ...]] = select(*HoldRow.columns(profile_holds))
    return [HoldRow(*row) for row in await connection.execute(query)]


async def forget(connection: AsyncConnection, profile_id: str, token: str) -> None:
    """Remove the row of a token that the registry has released, unless the profile is held again by then."""
    await connection.execute(
        delete(profile_holds).where(
            profile_holds.c.profile_id == profile_id,
            profile_holds.c.token == token,
            profile_holds.c.state == RELEASING,
        )
    )
