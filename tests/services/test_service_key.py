"""The key of a service was revoked: whoever asks the service is told so, and that it is not their key."""

import pytest

from tests.workshop.serving import World, problem

pytestmark = pytest.mark.anyio


async def test_an_executor_says_that_its_own_key_is_refused(world: World) -> None:
    known = await world.user_key(world.registry_client, "known")
    unknown = await world.user_key(world.registry_client, "unknown")
    async with world.executor(), world.raw(known) as client, world.raw(unknown) as other:
        assert (await client.get("/v1/jobs")).status_code == 200
        (service,) = [key async for key in world.registry_client.access_keys() if key.role == "service"]
        await world.registry_client.delete_access_key(service.id)
        body = {"profile_id": world.profile.id, "command": ["true"], "units": [{}]}
        for answer in (await client.post("/v1/jobs", json=body), await other.get("/v1/jobs")):
            assert answer.status_code == 503
            assert "STOKER_SERVICE_KEY" in problem(answer)["detail"]
            assert "revoked" in problem(answer)["detail"]
        # Who is known is served where the registry is not needed.
        assert (await client.get("/v1/jobs")).status_code == 200
