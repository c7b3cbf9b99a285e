"""What a poller needs around it to watch a real cluster: users' batches on a list, and agents as the right users."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.pipes import AgentPool, Pipe
from stoker.contracts.holds import Connection
from stoker.contracts.profiles import Profile, SlurmSudoProfileSpec
from stoker.contracts.resources import Resource, SlurmSudoResourceSpec
from stoker.contracts.watches import WatchedBatch, WatchedProfile, WatchList
from stoker.errors import NotFound
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.users import UnixUser
from tests.workshop.registry import seed
from tests.workshop.slurm_site import start_agent

RESOURCE_ID = "cluster-1"
_NOW = datetime(2026, 11, 1, tzinfo=UTC)
_EVENTS = b'{"event":"staged"}\n'


class ClusterScene:
    """An executor's list and a registry's connections: a profile, named like the user, for each of `users`."""

    def __init__(self, cluster: SlurmCluster, *users: UnixUser) -> None:
        self.cluster = cluster
        self.requests = 0
        self.interval_seconds = 0.0
        self.connections = {user.name: _connection(user) for user in users}
        self.batches: dict[str, dict[str, WatchedBatch]] = {user.name: {} for user in users}
        self._homes = {user.name: user for user in users}

    def submit(self, script: str, *options: str, user: UnixUser, tasks: int = 0) -> list[str]:
        """Submit a job (an array of `tasks`) and list its batches, named by their native ids."""
        array = [f"--array=0-{tasks - 1}"] if tasks else []
        job = self.cluster.submit(script, *array, *options, user=user)
        native_ids = [f"{job}_{task}" for task in range(tasks)] if tasks else [job]
        for native_id in native_ids:
            self.lists(native_id, user)
        return native_ids

    def lists(self, native_id: str, user: UnixUser) -> None:
        """List a batch that has a folder, of which the executor has read everything."""
        folder = user.home / "jobs" / native_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events.jsonl").write_bytes(_EVENTS)
        for path in (folder.parent, folder, folder / "events.jsonl"):
            os.chown(path, user.uid, user.gid)
        self.batches[user.name][native_id] = WatchedBatch(
            batch_id=native_id,
            job_id="job",
            folder=native_id,
            native_id=native_id,
            state="queued",
            events_offset=len(_EVENTS),
        )

    def learns(self, digests: dict[str, str]) -> None:
        """Let the list show these digests."""
        for batches in self.batches.values():
            for batch_id in batches.keys() & digests.keys():
                batches[batch_id] = msgspec.structs.replace(batches[batch_id], scheduler=digests[batch_id])

    def forget(self) -> None:
        """List nothing any more."""
        for batches in self.batches.values():
            batches.clear()

    async def watch_list(self) -> WatchList:
        self.requests += 1
        profiles = [
            WatchedProfile(
                profile_id=name,
                resource_id=RESOURCE_ID,
                resource_type="slurm_sudo",
                scheduler=True,
                jobs_root="~/jobs",
                poll_interval_seconds=self.interval_seconds,
                batches=list(batches.values()),
            )
            for name, batches in self.batches.items()
        ]
        return WatchList(profiles=profiles)

    async def connection(self, profile_id: str) -> Connection:
        if profile_id not in self.connections:
            raise NotFound("no such profile")
        return self.connections[profile_id]

    @asynccontextmanager
    async def agents(self) -> AsyncGenerator[AgentPool]:
        """Agents that are what sudo would start, and the service's own as the user that runs services."""
        file, path = self.cluster.folder / "agent.py", self.cluster.commands.path

        async def opened(connection: Connection) -> Pipe:
            return await start_agent(self._homes[connection.profile.name], file, path)

        async def own() -> Pipe:
            return await start_agent(self.cluster.users.stoker, file, path)

        pool = AgentPool(opener=opened, own_opener=own, first_delay_seconds=0.1, longest_delay_seconds=0.5)
        try:
            yield pool
        finally:
            await pool.close()


def _connection(user: UnixUser) -> Connection:
    spec: Any = msgspec.convert(seed("resource_slurm_sudo"), SlurmSudoResourceSpec)
    times: dict[str, Any] = {"created_at": _NOW, "updated_at": _NOW, "version": 1}
    return Connection(
        resource=Resource(id=RESOURCE_ID, name="cluster", type="slurm_sudo", spec=spec, **times),
        profile=Profile(
            id=user.name,
            resource_id=RESOURCE_ID,
            name=user.name,
            resource_type="slurm_sudo",
            spec=SlurmSudoProfileSpec(name=user.name, username=user.name),
            **times,
        ),
    )
