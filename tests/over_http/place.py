"""Where a test's jobs run: one profile of the stack under test."""

from dataclasses import dataclass

from tests.over_http.address import StackAddress


@dataclass(frozen=True)
class Place:
    """`name`: the resource's; `username`: who units run as, where the profile says so."""

    name: str
    profile_id: str
    resource_id: str
    on_cluster: bool
    username: str | None


async def places(address: StackAddress) -> list[Place]:
    """The first profile of each resource."""
    found = []
    async with address.registry() as registry:
        async for resource in registry.resources():
            async for profile in registry.profiles(resource_id=resource.id):
                found.append(
                    Place(
                        name=resource.name,
                        profile_id=profile.id,
                        resource_id=resource.id,
                        on_cluster=resource.type != "local",
                        username=getattr(profile.spec, "username", None),
                    )
                )
                break
    return found
