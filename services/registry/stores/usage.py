"""What keeps a resource or a profile from being deleted, in words."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.registry.tables import holds, profiles

_NAMED = 5


async def what_uses(
    connection: AsyncConnection, *, resource_id: str | None = None, profile_id: str | None = None
) -> str:
    """Return `2 profiles (a, b); 3 holds (executor)`, or an empty text when nothing does."""
    uses = []
    if resource_id is not None:
        query = select(profiles.c.name).where(profiles.c.resource_id == resource_id).order_by(profiles.c.name)
        names = list((await connection.execute(query)).scalars())
        if names:
            uses.append(_counted("profile", len(names), names))
    held = holds.c.resource_id == resource_id if resource_id is not None else holds.c.profile_id == profile_id
    query = select(holds.c.holder, func.count()).where(held).group_by(holds.c.holder).order_by(holds.c.holder)
    rows = (await connection.execute(query)).all()
    if rows:
        uses.append(_counted("hold", sum(row[1] for row in rows), [row[0] for row in rows]))
    return "; ".join(uses)


def _counted(noun: str, count: int, names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return f"{count} {noun}{'' if count == 1 else 's'} ({shown})"
