"""The poller's own HTTP interface, beside a real registry and a real executor."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from services.poller.app import create_app
from services.poller.settings import PollerSettings
from shared.service.settings import load_settings
from stoker.contracts.watches import ResourceHealth, Watches
from tests.servers.redis import RedisServer
from tests.waiting import until
from tests.workshop.serving import World, ended, served

pytestmark = pytest.mark.anyio
PATHS = (
    "/v1/watches",
    "/v1/resources-health",
    "/v1/queues/r",
    "/metrics",
    "/schema",
    "/schema/openapi.json",
    "/nothing/here",
)


@pytest.fixture
async def world(tmp_path: Path, sqlite_url: str, embedded_redis_url: str) -> AsyncIterator[World]:
    made = World(tmp_path, sqlite_url, embedded_redis_url)
    async with made.registry() as made.registry_client:
        await made.add_local_resource(made.registry_client)
        yield made


def settings(world: World) -> PollerSettings:
    variables = {
        "STOKER_REDIS_URL": world.redis_url,
        "STOKER_REGISTRY_URL": world.registry_url,
        "STOKER_EXECUTOR_URL": world.executor_url,
        "STOKER_SERVICE_KEY": world.service_key,
        "STOKER_WATCH_LIST_SECONDS": "0.5",
    }
    return load_settings(PollerSettings, variables)


def http(url: str, key: str | None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30)


async def test_it_shows_what_it_watches_while_a_job_runs_and_nothing_after_its_end(world: World) -> None:
    gate = world.folder / "gate"
    async with (
        world.executor() as executor,
        served(create_app(settings(world))) as url,
        http(url, world.admin_key) as it,
    ):

        async def watches() -> Watches:
            return msgspec.json.decode((await it.get("/v1/watches")).raise_for_status().content, type=Watches)

        async def seen_alive() -> bool:
            return any(batch.alive for profile in (await watches()).profiles for batch in profile.batches)

        job = await executor.submit(world.submission("sh", "-c", f"until test -e {gate}; do sleep 0.05; done"))
        await until(seen_alive, "a batch that is alive")
        (profile,) = (await watches()).profiles
        assert (profile.profile_id, profile.resource_id) == (world.profile.id, world.resource.id)
        assert profile.working
        assert [batch.job_id for batch in profile.batches] == [job.id]
        (health,) = msgspec.json.decode((await it.get("/v1/resources-health")).content, type=list[ResourceHealth])
        assert (health.reachable, health.watched_batches, health.error) == (True, 1, None)
        gate.touch()
        assert (await ended(executor, job.id)).state == "succeeded"

        async def idle() -> bool:
            return not (await watches()).profiles

        await until(idle, "an empty list")
        (health,) = msgspec.json.decode((await it.get("/v1/resources-health")).content, type=list[ResourceHealth])
        assert (health.reachable, health.watched_batches) == (True, 0)


async def test_only_health_answers_without_a_key(world: World) -> None:
    async with world.executor(), served(create_app(settings(world))) as url, http(url, None) as it:
        for path in PATHS:
            assert (await it.get(path)).status_code == 401, path
        assert (await it.get("/health/live")).status_code == 200
        assert (await it.get("/health/ready")).status_code == 200


async def test_a_users_key_does_not_see_what_others_run(world: World) -> None:
    key = await world.user_key(world.registry_client, "somebody")
    async with world.executor(), served(create_app(settings(world))) as url, http(url, key) as it:
        for path in ("/v1/watches", "/v1/resources-health"):
            answer = await it.get(path)
            assert answer.status_code == 403
            assert answer.json()["type"] == "urn:stoker:problem:forbidden"


async def test_a_resource_without_a_known_queue_is_told_with_when_there_would_be_one(world: World) -> None:
    users_key = await world.user_key(world.registry_client, "somebody")
    async with world.executor(), served(create_app(settings(world))) as url:
        for key in (world.admin_key, users_key):
            async with http(url, key) as it:
                for resource_id in ("nothing-like-this", world.resource.id):
                    answer = await it.get(f"/v1/queues/{resource_id}")
                    assert answer.status_code == 404
                    assert "looks only while a SLURM job runs there" in answer.json()["detail"]
                assert (await it.get("/v1/queues/r?cursor=x")).status_code == 422


async def test_a_services_key_may_ask(world: World) -> None:
    async with world.executor(), served(create_app(settings(world))) as url, http(url, world.service_key) as it:
        assert (await it.get("/v1/watches")).status_code == 200


async def test_metrics_and_description_name_what_is_the_pollers_own(world: World) -> None:
    async with world.executor(), served(create_app(settings(world))) as url, http(url, world.admin_key) as it:
        metrics = (await it.get("/metrics")).text
        for name in (
            "watch_list_requests",
            "follows",
            "observations",
            "messages",
            "rounds",
            "watched_batches",
            "scheduler_calls",
        ):
            assert f"# HELP stoker_poller_{name}" in metrics
        document = (await it.get("/schema/openapi.json")).json()
        assert {"/v1/watches", "/v1/resources-health", "/health/live", "/health/ready"} <= document["paths"].keys()


async def test_readiness_says_what_is_missing(world: World, embedded_redis_server: RedisServer) -> None:
    async with world.executor():
        made = settings(world)
        async with served(create_app(made)) as url, http(url, None) as it:
            assert (await it.get("/health/ready")).json()["checks"] == {
                "redis": "ok",
                "executor": "ok",
                "registry": "ok",
            }
            embedded_redis_server.process.kill()
            answer = await it.get("/health/ready")
            assert answer.status_code == 503
            assert "Redis" in answer.json()["checks"]["redis"]
            embedded_redis_server.process.start()
            await until_ready(it)
    async with served(create_app(made)) as url, http(url, None) as it:
        answer = await it.get("/health/ready")
        assert answer.status_code == 503
        assert "executor" in answer.json()["checks"]["executor"]
        assert answer.json()["checks"]["redis"] == "ok"
        assert (await it.get("/health/live")).status_code == 200


async def until_ready(it: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await it.get("/health/ready")).status_code == 200

    await until(ready, "readiness")
