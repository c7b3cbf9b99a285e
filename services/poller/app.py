"""Putting the poller together; the only place where its objects are made."""

import os
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from litestar import Litestar

from services.poller.cluster.queues import Queues
from services.poller.controllers import QueuesController, WatchesController
from services.poller.metrics import PollerMetrics
from services.poller.settings import PollerSettings
from services.poller.watcher import Watcher
from shared.pipes import AgentPool, PipeSettings, open_pipe
from shared.service.bus import Bus
from shared.service.connections import Connections
from shared.service.settings import SERVICE_KEY
from shared.service.web.access.remote_keys import RemoteKeyVerifier
from shared.service.web.application import build_application
from stoker.clients.base import ServiceClient
from stoker.clients.executor import ExecutorClient
from stoker.clients.registry import RegistryClient
from stoker.errors import Unavailable


def create_app(settings: PollerSettings) -> Litestar:
    """Return the application; it begins to watch when it is started."""
    key = settings.service_key.reveal()
    # One attempt each: whoever asks comes again by itself, after pauses of its own.
    executor = ExecutorClient(settings.executor_url, key, attempts=1, own_key=SERVICE_KEY)
    registry = RegistryClient(settings.registry_url, key, attempts=1, own_key=SERVICE_KEY)
    bus = Bus(settings.redis_url)
    pipes = PipeSettings(
        ssh_known_hosts=settings.ssh_known_hosts,
        ssh_answer_seconds=settings.ssh_answer_seconds,
        agent_file=settings.agent_file,
    )
    opener = partial(open_pipe, settings=pipes)
    agents = AgentPool(opener=opener, longest_delay_seconds=settings.reconnect_seconds)
    metrics = PollerMetrics()
    connections = Connections(registry, fresh_seconds=settings.connection_seconds)
    watcher = Watcher(
        poller_id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        executor=executor,
        connections=connections,
        agents=agents,
        bus=bus,
        metrics=metrics,
        watch_list_seconds=settings.watch_list_seconds,
        lease_seconds=settings.lease_seconds,
        reconnect_seconds=settings.reconnect_seconds,
    )

    @asynccontextmanager
    async def working(_: Litestar) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for close in (executor.aclose, registry.aclose, bus.close, agents.close):
                stack.push_async_callback(close)
            await stack.enter_async_context(watcher.running())
            yield

    return build_application(
        service="poller",
        settings=settings,
        route_handlers=[WatchesController, QueuesController],
        verifier=RemoteKeyVerifier(
            registry,
            seconds=settings.key_cache_seconds,
            unavailable_seconds=settings.key_cache_unavailable_seconds,
        ),
        readiness={"redis": bus.ping, "executor": _answers(executor), "registry": _answers(registry)},
        lifespan=[working],
        dependencies={"watcher": watcher, "queues": Queues(watcher, connections)},
        metrics_registry=metrics.registry,
    )


def _answers(client: ServiceClient) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        if not await client.ready():
            raise Unavailable(f"the {client.service} does not answer, or is not ready")

    return check
