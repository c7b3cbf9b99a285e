"""Stoker as an operator installs it, whatever the way to the cluster: the services of an unprivileged user.

Resource and profiles are made of the configurations that users already have, with this cluster's values in them.
"""

import asyncio
import contextlib
import copy
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from stoker.contracts.jobs import Batch, Job, JobSubmit, Unit
from stoker.contracts.profiles import Profile
from stoker.contracts.resources import Resource
from stoker.errors import Unavailable
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.installation import PublicInstallation
from tests.servers.slurm.users import UnixUser
from tests.stack.command_line import RunsAs
from tests.stack.running import RunningStack
from tests.workshop.packages import Index

SYSTEM_PYTHON = "/usr/bin/python3"
SEED = Path(__file__).parents[1] / "seed"
SHORT_GRACES = {
    "STOKER_FILES_GRACE_SECONDS": "4",
    "STOKER_ABSENT_GRACE_SECONDS": "8",
    "STOKER_SUBMISSION_DOUBT_SECONDS": "3",
}
FINAL = ("succeeded", "failed", "cancelled")


class ClusterStackSite(ABC):
    """One cluster and one stack beside it.

    `index` is where packages of environments come from. `folder` is root's, and everybody may look into it.
    `environment` goes to all services.
    """

    kind: str
    """In the names of the seeds: `sudo` or `ssh`."""

    def __init__(
        self, cluster: SlurmCluster, installation: PublicInstallation, environment: Mapping[str, str] | None = None
    ) -> None:
        self.cluster = cluster
        self.service_user = cluster.users.stoker
        self._tag = secrets.token_hex(4)
        self.folder = cluster.folder / f"site-{self._tag}"
        self.folder.mkdir(mode=0o755)
        self.index = Index(self.folder / "index")
        packages = {"STOKER_PACKAGE_INDEXES": self.index.url}
        self.environment = {**self._environment(), **packages, **SHORT_GRACES, **(environment or {})}
        self.stack = self._stack_of(installation)
        self.resource: Resource
        self.profiles: dict[str, Profile] = {}

    def _stack_of(self, installation: PublicInstallation) -> RunningStack:
        return RunningStack(
            self.service_user.home / f"state-{self._tag}",
            environment=self.environment,
            runs_as=RunsAs(self.service_user, installation.python),
        )

    def replace(self, installation: PublicInstallation) -> None:
        """Stop the services, and start those of another installation with the same data."""
        self.stack.stop()
        self.stack = self._stack_of(installation)
        self.stack.start()

    @abstractmethod
    def _environment(self) -> dict[str, str]:
        """What the services need to know of the way to the cluster."""

    @abstractmethod
    def jobs_root(self, user: UnixUser) -> Path:
        """The folder with the user's jobs, as root sees it."""

    @abstractmethod
    def start(self) -> None:
        """Make the way, start the services, register the cluster."""

    @abstractmethod
    def stop(self) -> None:
        """End what `start` started."""

    def job_folder(self, user: UnixUser, job: Job) -> Path:
        """As root sees it."""
        return self.jobs_root(user) / job.folder

    def resource_spec(self, **changes: Any) -> dict[str, Any]:
        """The users' own configuration, with the cluster's values in place of its examples."""
        spec: dict[str, Any] = json.loads((SEED / f"resource_slurm_{self.kind}.json").read_text())
        runner = spec["jobs_runner_config"]
        runner["default_slurm_config"]["partition"] = "main"
        runner["gpu_slurm_config"] |= {"partition": "gpu"}
        spec |= {
            "name": f"cluster {self._tag}",
            "jobs_local_dir": str(self.service_user.home / "jobs"),
            "jobs_slurm_python_worker": SYSTEM_PYTHON,
            "jobs_poll_interval": 1,
            "tasks_python_config": {"default_version": "3.11", "versions": {"3.11": SYSTEM_PYTHON}},
            **self._own_resource_fields(),
        }
        return merged(spec, changes)

    @abstractmethod
    def _own_resource_fields(self) -> dict[str, Any]:
        """What the kind of resource asks for besides."""

    def profile_spec(self, user: UnixUser, **changes: Any) -> dict[str, Any]:
        """A profile of the users' own configuration."""
        spec: dict[str, Any] = json.loads((SEED / f"profile_slurm_{self.kind}.json").read_text())
        own = self._own_profile_fields(user)
        return spec | {"name": f"{user.name} {self._tag}", "username": user.name} | own | changes

    def _own_profile_fields(self, user: UnixUser) -> dict[str, Any]:
        """What the kind of resource asks for besides."""
        del user
        return {}

    async def _register(self) -> None:
        async with self.stack.registry() as registry:
            self.resource = await registry.create_resource(self.resource_spec())
            for user in self.cluster.users.scientists:
                made = await registry.create_profile(self.resource.id, self.profile_spec(user))
                self.profiles[user.name] = made

    async def profile_on(self, user: UnixUser, **changes: Any) -> str:
        """Id of a profile on a new resource, whose configuration differs by `changes` (merged deeply)."""
        (profile,) = await self.profiles_on(user, **changes)
        return profile

    async def profiles_on(
        self, *users: UnixUser, profile: Mapping[str, Any] | None = None, **changes: Any
    ) -> list[str]:
        """The same for several users of one new resource; `profile`: fields that differ in each of the profiles."""
        tag = secrets.token_hex(4)
        async with self.stack.registry() as registry:
            spec = self.resource_spec(**changes) | {"name": f"changed {tag}"}
            resource = await registry.create_resource(spec)
            specs = [self.profile_spec(user, name=f"{user.name} {tag}", **(profile or {})) for user in users]
            return [(await registry.create_profile(resource.id, one)).id for one in specs]

    async def profile_of(self, user: UnixUser, **changes: Any) -> str:
        """Id of one more profile on the resource, which differs by `changes`."""
        async with self.stack.registry() as registry:
            spec = self.profile_spec(user, **{"name": f"{user.name} {secrets.token_hex(4)}", **changes})
            return (await registry.create_profile(self.resource.id, spec)).id

    def profile(self, user: UnixUser) -> str:
        return self.profiles[user.name].id

    async def submit(
        self,
        user: UnixUser,
        command: list[str],
        units: list[dict[str, Any]] | int = 1,
        *,
        profile_id: str | None = None,
        **more: Any,
    ) -> Job:
        given = [{} for _ in range(units)] if isinstance(units, int) else units
        profile_id = profile_id or self.profile(user)
        wanted = JobSubmit(profile_id=profile_id, command=command, units=given, **converted(more))
        async with self.stack.executor() as executor:
            return await executor.submit(wanted)

    async def until(self, job_id: str, *states: str, seconds: float = 120) -> Job:
        """The job once it is in one of these states (default: final)."""
        wanted, job = states or FINAL, None
        async with self.stack.executor() as executor:
            try:
                async with asyncio.timeout(seconds):
                    while job is None or job.state not in wanted:
                        assert job is None or job.state not in FINAL, job
                        await asyncio.sleep(0.1)
                        with contextlib.suppress(Unavailable):  # it was killed by a test, and comes back
                            job = await executor.job(job_id)
            except TimeoutError:
                raise AssertionError(f"not {wanted} within {seconds} s: {job}\n{self.stack.logs()}") from None
        return job

    async def run(self, user: UnixUser, command: list[str], units: Any = 1, **more: Any) -> Job:
        """Submit a job and wait for its end."""
        return await self.until((await self.submit(user, command, units, **more)).id)

    async def batches(self, job_id: str) -> list[Batch]:
        async with self.stack.executor() as executor:
            return [batch async for batch in executor.batches(job_id)]

    async def units(self, job_id: str) -> list[Unit]:
        async with self.stack.executor() as executor:
            return [unit async for unit in executor.units(job_id)]

    async def log(self, job_id: str, unit: int = 0) -> str:
        async with self.stack.executor() as executor:
            chunks = [chunk async for chunk in executor.unit_log(job_id, unit)]
        return b"".join(chunks).decode()


def converted(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a submit call from plain data, as JSON would have them."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(JobSubmit)}
    return {name: msgspec.convert(value, kinds[name]) for name, value in fields.items()}


def merged(spec: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`spec` with `changes`, objects merged field by field; None removes a field."""
    result = copy.deepcopy(spec)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result
