"""The executor put together: the one place where its objects are made."""

import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from litestar import Litestar

from services.executor.building.uv_program import UvSending, own_uv
from services.executor.checks.profile import Inspection
from services.executor.checks.trial import Trial
from services.executor.controllers.activities import ActivitiesController, list_tasks
from services.executor.controllers.downloads import DownloadsController
from services.executor.controllers.environments import EnvironmentsController
from services.executor.controllers.events import EventsController
from services.executor.controllers.host_keys import HostKeysController
from services.executor.controllers.jobs import JobsController
from services.executor.controllers.operations import check, read_usage, read_watch_list
from services.executor.controllers.services import Services
from services.executor.controllers.units import UnitsController
from services.executor.environments.access import Access
from services.executor.environments.activities import Activities
from services.executor.environments.catalogue import Gallery
from services.executor.environments.changes import Changes
from services.executor.environments.creation import Creation
from services.executor.environments.new_activities import BuildSettings
from services.executor.events import EventStream
from services.executor.housekeeping.retention import Retention
from services.executor.housekeeping.usage import DiskUsage
from services.executor.jobs.admission import Admission
from services.executor.jobs.cancellation import Cancellation
from services.executor.jobs.catalogue import Catalogue
from services.executor.jobs.plans import Previews
from services.executor.jobs.removal import Removal
from services.executor.kinds.judges import LocalJudge
from services.executor.kinds.launchers import LocalLauncher
from services.executor.kinds.slurm.judge import SlurmJudge
from services.executor.kinds.slurm.launcher import SlurmLauncher
from services.executor.kinds.slurm.looks import SchedulerLooks
from services.executor.kinds.slurm.verdicts import Graces
from services.executor.outputs.archive import Archive
from services.executor.outputs.job_log import JobLogs
from services.executor.outputs.unit_log import UnitLogs
from services.executor.repositories.notifying import NotifyingDatabase
from services.executor.resources.agents import JobAgents
from services.executor.resources.holds import Holds
from services.executor.resources.host_keys import HostKeys
from services.executor.resources.reachability import Reachability
from services.executor.running.batch_file import StagingLimits
from services.executor.running.collector import Collector
from services.executor.running.dispatcher import Dispatcher
from services.executor.running.engine import Engine
from services.executor.settings import ExecutorSettings
from shared.pipes import AgentPool, PipeSettings, open_pipe
from shared.service.bus import Bus
from shared.service.connections import Connections
from shared.service.web.access.remote_keys import RemoteKeyVerifier
from shared.service.web.application import build_application
from stoker.clients.registry import RegistryClient
from stoker.errors import Unavailable


def build(settings: ExecutorSettings) -> Litestar:
    """The application; nothing is contacted before it is started."""
    cpu_count = len(os.sched_getaffinity(0))
    # The same name after a restart, so that it goes on at once with what it had leased before. Were two executors to
    # share a name, they would do some work twice, and the claim would settle it.
    holder = f"{socket.gethostname()}:{settings.listen_port or secrets.token_hex(4)}"

    database = NotifyingDatabase(settings.database_url.reveal())
    bus = Bus(settings.redis_url)
    registry = RegistryClient(settings.registry_url, settings.service_key.reveal())
    pipes = PipeSettings(
        ssh_known_hosts=settings.ssh_known_hosts,
        ssh_answer_seconds=settings.ssh_answer_seconds,
        agent_file=settings.agent_file,
    )
    opener = partial(open_pipe, settings=pipes)
    agents = AgentPool(opener=opener, longest_delay_seconds=settings.reconnect_seconds)
    connections = Connections(registry)
    job_agents = JobAgents(agents, connections)
    holds = Holds(database, registry)

    looks = SchedulerLooks(agents)
    slurm = SlurmLauncher(
        database=database, agents=job_agents, looks=looks, doubt_seconds=settings.submission_doubt_seconds
    )
    slurm_judge = SlurmJudge(
        database=database,
        agents=job_agents,
        looks=looks,
        launcher=slurm,
        graces=Graces(files_seconds=settings.files_grace_seconds, absent_seconds=settings.absent_grace_seconds),
    )

    uv = own_uv()
    builds = BuildSettings(
        index_urls=settings.package_indexes or (), time_limit_seconds=settings.build_time_limit_seconds, uv=uv
    )
    engine = Engine(
        dispatcher=Dispatcher(
            holder=holder,
            database=database,
            bus=bus,
            agents=job_agents,
            launchers={"local": LocalLauncher(), "slurm": slurm},
            limits=StagingLimits(
                output_limit_bytes=settings.output_limit_bytes, kill_grace_seconds=settings.kill_grace_seconds
            ),
            uv=UvSending(database, uv),
            lease_seconds=settings.lease_seconds,
            longest_pause_seconds=settings.reconnect_seconds,
        ),
        collector=Collector(
            holder=holder,
            database=database,
            agents=job_agents,
            judges={"local": LocalJudge(database), "slurm": slurm_judge},
            lease_seconds=settings.lease_seconds,
        ),
        bus=bus,
    )
    stream = EventStream(database, bus)
    reachability = Reachability(bus)
    catalogue = Catalogue(database, reachability.trouble)
    admission = Admission(
        database=database,
        connections=connections,
        holds=holds,
        resource_types=settings.resource_types,
        cpu_count=cpu_count,
        wake=engine.wake,
    )
    cancellation = Cancellation(database, engine.wake)
    removal = Removal(database, catalogue, job_agents)
    retention = Retention(
        database=database,
        agents=job_agents,
        removal=removal,
        holds=holds,
        retention_days=settings.retention_days,
    )
    database.on_commit(stream.wake)
    database.on_commit(retention.wake)
    unit_logs = UnitLogs(database, catalogue, job_agents)
    gallery = Gallery(database, Access(connections), reachability.trouble)
    services = Services(
        database=database,
        admission=admission,
        previews=Previews(admission=admission, agents=agents, looks=looks, cpu_count=cpu_count),
        catalogue=catalogue,
        cancellation=cancellation,
        removal=removal,
        unit_logs=unit_logs,
        job_logs=JobLogs(database, catalogue, job_agents),
        archive=Archive(database, job_agents),
        stream=stream,
        inspection=Inspection(
            connections=connections,
            bus=bus,
            opener=opener,
            agent_file=settings.agent_file,
            resource_types=settings.resource_types,
            cpu_count=cpu_count,
            trial=Trial(admission, catalogue, cancellation, removal),
            trouble=reachability.trouble,
        ),
        usage=DiskUsage(database, job_agents),
        host_keys=HostKeys(registry, settings.ssh_known_hosts, settings.resource_types),
        environments=Creation(
            database=database,
            admission=admission,
            holds=holds,
            gallery=gallery,
            settings=builds,
            wake=engine.wake,
        ),
        changes=Changes(
            database=database, connections=connections, gallery=gallery, settings=builds, wake=engine.wake
        ),
        gallery=gallery,
        activities=Activities(database, gallery, unit_logs, cancellation),
    )

    @asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for close in (database.close, bus.close, registry.aclose, agents.close):
                stack.push_async_callback(close)
            for part in (engine, stream, retention, reachability):
                await stack.enter_async_context(part.running())
            yield

    async def registry_answers() -> None:
        if not await registry.ready():
            raise Unavailable("the registry is not ready")

    return build_application(
        service="executor",
        settings=settings,
        route_handlers=[
            JobsController,
            UnitsController,
            DownloadsController,
            EventsController,
            HostKeysController,
            EnvironmentsController,
            ActivitiesController,
            list_tasks,
            read_watch_list,
            check,
            read_usage,
        ],
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
