"""Resources and profiles by name or id."""

from stoker.cli.session import Session
from stoker.contracts.profiles import Profile
from stoker.contracts.resources import Resource
from stoker.errors import Conflict, NotFound


async def find_resource(session: Session, name_or_id: str) -> Resource:
    """Return the resource; raises NotFound."""
    async for found in session.registry.resources(name=name_or_id):
        if found.name == name_or_id:
            return found
    try:
        return await session.registry.resource(name_or_id)
    except NotFound as error:
        raise NotFound(f"there is no resource {name_or_id!r} (see: stoker resource list)") from error


async def find_profile(session: Session, name_or_id: str, *, resource: str | None = None) -> Profile:
    """Return the profile, of a resource (name or id) or of any.

    Raises NotFound, and Conflict when several resources have a profile of that name.
    """
    resource_id = None if resource is None else (await find_resource(session, resource)).id
    found = session.registry.profiles(resource_id=resource_id, name=name_or_id)
    named = [profile async for profile in found if profile.name == name_or_id]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(profile.id for profile in named)
        raise Conflict(f"several resources have a profile {name_or_id!r}: say which by its id ({ids})")
    missing = NotFound(f"there is no profile {name_or_id!r} (see: stoker profile list)")
    try:
        profile = await session.registry.profile(name_or_id)
    except NotFound as error:
        raise missing from error
    if resource_id not in (None, profile.resource_id):
        raise missing
    return profile
