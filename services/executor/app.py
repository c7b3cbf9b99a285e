"""The executor put together: each room offers what it is made of."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from litestar import Litestar

from services.executor.building.uv_program import own_uv
from services.executor.checks.parts import profile_check
from services.executor.controllers import HANDLERS
from services.executor.controllers.services import Services
from services.executor.environments.parts import environments
from services.executor.events import EventStream
from services.executor.housekeeping.retention import Retention
from services.executor.housekeeping.usage import DiskUsage
from services.executor.jobs.parts import jobs
from services.executor.kinds.parts import kinds
from services.executor.kinds.slurm.looks import SchedulerLooks
from services.executor.outputs.parts import outputs
from services.executor.resources.parts import resources
from services.executor.running.parts import engine
from services.executor.settings import ExecutorSettings
from shared.service.bus import Bus
from shared.service.database.notifying import NotifyingDatabase
from shared.service.settings import SERVICE_KEY
from shared.service.web.access.remote_keys import RemoteKeyVerifier
from shared.service.web.application import build_application
from stoker.clients.registry import RegistryClient
from stoker.errors import Unavailable


def build(settings: ExecutorSettings) -> Litestar:
    """The application; nothing is contacted before it is started."""
    cpu_count = len(os.sched_getaffinity(0))
    database = NotifyingDatabase(settings.database_url.reveal())
    bus = Bus(settings.redis_url)
    registry = RegistryClient(settings.registry_url, settings.service_key.reveal(), own_key=SERVICE_KEY)
    uv = own_uv()

    reach = resources(settings, database, bus, registry)
    looks = SchedulerLooks(reach.pool)
    work = engine(settings, database, bus, reach, kinds(settings, database, reach, looks), uv)
    of_jobs = jobs(database, reach, looks, cpu_count, work.wake)
    left = outputs(database, of_jobs.catalogue, reach.agents)
    events = EventStream(database, bus)
    retention = Retention(
        database=database,
        agents=reach.agents,
        removal=of_jobs.removal,
        holds=reach.holds,
        retention_days=settings.retention_days,
    )
    database.on_commit(events.wake)
    database.on_commit(retention.wake)
    services = Services(
        database=database,
        jobs=of_jobs,
        outputs=left,
        environments=environments(settings, database, reach, left.unit_logs, of_jobs.cancellation, uv, work.wake),
        events=events,
        profile_check=profile_check(settings, bus, reach, of_jobs, cpu_count),
        usage=DiskUsage(database, reach.agents),
        host_keys=reach.host_keys,
    )

    @asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for close in (database.close, bus.close, registry.aclose, reach.pool.close):
                stack.push_async_callback(close)
            for part in (work, events, retention, reach.reachability):
                await stack.enter_async_context(part.running())
            yield

    async def registry_answers() -> None:
        if not await registry.ready():
            raise Unavailable("the registry is not ready")

    return build_application(
        service="executor",
        settings=settings,
        route_handlers=HANDLERS,
        verifier=RemoteKeyVerifier(
            registry,
            seconds=settings.key_cache_seconds,
            unavailable_seconds=settings.key_cache_unavailable_seconds,
        ),
        readiness={"database": database.ping, "redis": bus.ping, "registry": registry_answers},
        lifespan=[running],
        dependencies={"services": services},
        max_body_bytes=settings.max_body_bytes,
    )
