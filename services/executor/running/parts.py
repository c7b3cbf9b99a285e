"""This room put together."""

import secrets
import socket
from collections.abc import Mapping

from services.executor.building.uv_program import UvProgram, UvSending
from services.executor.kinds.kind import Kind
from services.executor.resources.parts import Resources
from services.executor.running.batch_file import StagingLimits
from services.executor.running.collector import Collector
from services.executor.running.dispatcher import Dispatcher
from services.executor.running.engine import Engine
from services.executor.settings import ExecutorSettings
from shared.service.bus import Bus
from shared.service.database.transactions import Database


def engine(
    settings: ExecutorSettings,
    database: Database,
    bus: Bus,
    resources: Resources,
    kinds: Mapping[str, Kind],
    uv: UvProgram | None,
) -> Engine:
    """What dispatches and collects."""
    # The same name after a restart, so that it goes on at once with what it had leased before. Were two executors to
    # share a name, they would do some work twice, and the claim would settle it.
    holder = f"{socket.gethostname()}:{settings.listen_port or secrets.token_hex(4)}"
    limits = StagingLimits(
        output_limit_bytes=settings.output_limit_bytes, kill_grace_seconds=settings.kill_grace_seconds
    )
    dispatcher = Dispatcher(
        holder=holder,
        database=database,
        bus=bus,
        agents=resources.agents,
        kinds=kinds,
        limits=limits,
        uv=UvSending(database, uv),
        lease_seconds=settings.lease_seconds,
        longest_pause_seconds=settings.reconnect_seconds,
    )
    collector = Collector(
        holder=holder,
        database=database,
        agents=resources.agents,
        kinds=kinds,
        limits=limits,
        lease_seconds=settings.lease_seconds,
    )
    return Engine(dispatcher=dispatcher, collector=collector, bus=bus)
