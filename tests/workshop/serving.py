"""Our services on loopback, in the test's own event loop: registry, executor and, where work is to end, poller."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog
import uvicorn
from litestar import Litestar

from services.executor.app import build
from services.executor.repositories.migrations import LOCATION as EXECUTOR_MIGRATIONS
from services.executor.settings import ExecutorSettings
from services.poller.app import create_app
from services.poller.settings import PollerSettings
from services.registry.app import build_app
from services.registry.bootstrap import bootstrap
from services.registry.migrations import LOCATION as REGISTRY_MIGRATIONS
from services.registry.settings import RegistrySettings
from shared.service.settings import load_settings
from shared.service.web.doors import Doors
from shared.service.web.protocol import BoundedConfig
from stoker.clients.executor import ExecutorClient
from stoker.clients.registry import RegistryClient
from stoker.contracts.jobs import Job, JobSubmit
from stoker.contracts.keys import AccessKeyCreate
from stoker.contracts.profiles import Profile
from stoker.contracts.resources import Resource
from tests.servers.redis import RedisServer
from tests.waiting import until
from tests.workshop.databases import with_schema

# A line for each request would bury what a failed test has to say.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

FINAL = ("succeeded", "failed", "cancelled")


class _Server(uvicorn.Server):
    """Leaves signals to pytest, and stops as uvicorn does, but for the pauses of a tenth of a second in it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told_to_stop = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.told_to_stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in (*self.servers, *(sockets or [])):
            listener.close()
        state = self.server_state
        for connection in tuple(state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while state.connections or state.tasks:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            for task in state.tasks:
                task.cancel("the server stops")
        await self.lifespan.shutdown()


@asynccontextmanager
async def served(app: Litestar) -> AsyncIterator[str]:
    """The address of an application that is served until the context is left."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = BoundedConfig(
        app, Doors(app.state.limits), loop="none", log_config=None, access_log=False, lifespan="on"
    )
    config.timeout_graceful_shutdown = 5
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not task.done(), "the application did not start"
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        app.state.stopping.set()
        server.told_to_stop.set()
        await task
        listener.close()


class World:
    """A registry with a local resource, and an executor on it. Addresses stay the same while services come and go."""

    def __init__(
        self, folder: Path, executor_database_url: str, redis_url: str, *, resource_types: str = "local"
    ) -> None:
        self.folder = folder
        self.resource_types = resource_types
        self.jobs_dir = folder / "jobs"
        self.redis_url = redis_url
        self.executor_database_url = executor_database_url
        self.registry_database_url = f"sqlite:///{folder / 'registry.db'}"
        self.registry_url = self.executor_url = ""
        self.admin_key = self.service_key = ""
        self.registry_client: RegistryClient
        self.resource: Resource
        self.profile: Profile

    @property
    def _registry_settings(self) -> RegistrySettings:
        return load_settings(
            RegistrySettings,
            {"STOKER_DATABASE_URL": self.registry_database_url, "STOKER_RESOURCE_TYPES": self.resource_types},
        )

    @asynccontextmanager
    async def registry(self) -> AsyncIterator[RegistryClient]:
        """Serve the registry; the first time, make its keys."""
        with_schema(self.registry_database_url, REGISTRY_MIGRATIONS)
        if not self.admin_key:
            self.admin_key = (await bootstrap(self._registry_settings, role="admin", name="root")).key
            self.service_key = (await bootstrap(self._registry_settings, role="service", name="service")).key
        async with (
            served(build_app(self._registry_settings)) as self.registry_url,
            RegistryClient(self.registry_url, self.admin_key) as client,
        ):
            yield client

    @asynccontextmanager
    async def executor(self, **settings: str) -> AsyncIterator[ExecutorClient]:
        """Serve the executor."""
        with_schema(self.executor_database_url, EXECUTOR_MIGRATIONS)
        variables = {
            "STOKER_DATABASE_URL": self.executor_database_url,
            "STOKER_REDIS_URL": self.redis_url,
            "STOKER_REGISTRY_URL": self.registry_url,
            "STOKER_SERVICE_KEY": self.service_key,
            "STOKER_RESOURCE_TYPES": self.resource_types,
        }
        made = load_settings(ExecutorSettings, variables | settings)
        async with served(build(made)) as self.executor_url, self.client(self.admin_key) as client:
            yield client

    @asynccontextmanager
    async def poller(self) -> AsyncIterator[None]:
        """Serve the poller, without which no job ends."""
        variables = {
            "STOKER_REDIS_URL": self.redis_url,
            "STOKER_REGISTRY_URL": self.registry_url,
            "STOKER_EXECUTOR_URL": self.executor_url,
            "STOKER_SERVICE_KEY": self.service_key,
            "STOKER_RESOURCE_TYPES": self.resource_types,
        }
        async with served(create_app(load_settings(PollerSettings, variables))):
            yield

    async def add_local_resource(self, registry: RegistryClient, **changes: Any) -> None:
        """A local resource with one profile."""
        spec = {
            "type": "local",
            "name": "here",
            "jobs_local_dir": str(self.jobs_dir),
            "tasks_local_dir": str(self.folder / "tasks"),
            "tasks_python_config": {"default_version": "3.11", "versions": {"3.11": "/usr/bin/python3"}},
            "jobs_runner_config": {"parallel_tasks_per_job": 2},
            "jobs_poll_interval": 0,
        }
        self.resource = await registry.create_resource(spec | changes)
        self.profile = await registry.create_profile(self.resource.id, {"name": "me", "resource_type": "local"})

    async def user_key(self, registry: RegistryClient, name: str, *, granted: bool = True) -> str:
        """A user's key, with the profile granted or without any."""
        profile_ids = [self.profile.id] if granted else []
        made = await registry.create_access_key(AccessKeyCreate(name=name, role="user", profile_ids=profile_ids))
        return made.key

    def client(self, key: str) -> ExecutorClient:
        """A client of the executor that does not repeat what fails."""
        return ExecutorClient(self.executor_url, key, attempts=1)

    def raw(self, key: str | None = None) -> httpx.AsyncClient:
        """HTTP as it is, as an administrator or with another key."""
        headers = {"Authorization": f"Bearer {key or self.admin_key}"}
        return httpx.AsyncClient(base_url=self.executor_url, headers=headers, trust_env=False, timeout=30)

    def submission(self, *command: str, units: list[dict[str, Any]] | None = None, **more: Any) -> JobSubmit:
        """A submit call on the local profile."""
        return JobSubmit(profile_id=self.profile.id, command=list(command), units=units or [{}], **more)


async def ended(client: ExecutorClient, job_id: str, *, seconds: float = 120.0) -> Job:
    """The job once it is final."""

    async def over() -> bool:
        return (await client.job(job_id)).state in FINAL

    await until(over, f"the end of job {job_id}", seconds=seconds)
    return await client.job(job_id)


def problem(answer: httpx.Response) -> Mapping[str, Any]:
    """A problem's body."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: Mapping[str, Any] = msgspec.json.decode(answer.content)
    return found


@pytest.fixture
async def world(tmp_path: Path, database_url: str, embedded_redis_url: str) -> AsyncIterator[World]:
    """A registry with a local resource, on which a test starts executors."""
    made = World(tmp_path, database_url, embedded_redis_url)
    async with made.registry() as made.registry_client:
        await made.add_local_resource(made.registry_client)
        yield made


@pytest.fixture(scope="module")
async def refusing(tmp_path_factory: pytest.TempPathFactory, shared_redis: RedisServer) -> AsyncIterator[World]:
    """A world with an executor that the tests of a module share: for requests that are refused, and store nothing."""
    folder = tmp_path_factory.mktemp("refusing")
    shared_redis.process.start()
    made = World(folder, f"sqlite:///{folder / 'stoker.db'}", shared_redis.url)
    async with made.registry() as made.registry_client:
        await made.add_local_resource(made.registry_client)
        async with made.executor():
            yield made


@pytest.fixture
async def executor(world: World) -> AsyncIterator[ExecutorClient]:
    """An executor without a poller: jobs are accepted and launched, and nobody sees them end."""
    async with world.executor() as client:
        yield client


@pytest.fixture
async def working(world: World) -> AsyncIterator[ExecutorClient]:
    """An executor and a poller: jobs run to their end."""
    async with world.executor() as client, world.poller():
        yield client
