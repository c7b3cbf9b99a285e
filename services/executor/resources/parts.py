"""This room put together."""

from functools import partial

import msgspec

from services.executor.resources.agents import JobAgents
from services.executor.resources.holds import Holds
from services.executor.resources.host_keys import HostKeys
from services.executor.resources.profiles import Profiles
from services.executor.resources.reachability import Reachability
from services.executor.settings import ExecutorSettings
from shared.pipes import AgentPool, PipeOpener, PipeSettings, open_pipe
from shared.service.bus import Bus
from shared.service.connections import Connections
from shared.service.database.transactions import Database
from stoker.clients.registry import RegistryClient


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach what."""

    connections: Connections
    opener: PipeOpener
    pool: AgentPool
    agents: JobAgents
    holds: Holds
    profiles: Profiles
    reachability: Reachability
    host_keys: HostKeys


def resources(settings: ExecutorSettings, database: Database, bus: Bus, registry: RegistryClient) -> Resources:
    """Made of the settings; nothing is contacted yet."""
    pipes = PipeSettings(
        ssh_known_hosts=settings.ssh_known_hosts,
        ssh_answer_seconds=settings.ssh_answer_seconds,
        agent_file=settings.agent_file,
    )
    opener = partial(open_pipe, settings=pipes)
    connections = Connections(registry)
    pool = AgentPool(opener=opener, longest_delay_seconds=settings.reconnect_seconds)
    return Resources(
        connections=connections,
        opener=opener,
        pool=pool,
        agents=JobAgents(pool, connections),
        holds=Holds(database, registry),
        profiles=Profiles(connections, settings.resource_types),
        reachability=Reachability(bus),
        host_keys=HostKeys(registry, settings.ssh_known_hosts, settings.resource_types),
    )
