"""Where the stack under test answers, and how its containers are got at: both come from the environment.

| variable | meaning |
|---|---|
| `STOKER_TEST_REGISTRY_URL`, `STOKER_TEST_EXECUTOR_URL`, `STOKER_TEST_POLLER_URL`, `STOKER_TEST_KEY` | the stack |
| `STOKER_TEST_COMPOSE` | a command line, such as `docker-compose --project-name NAME`: for those that kill |
| `STOKER_TEST_SECOND_EXECUTOR_URL` | where the service `executor-2` answers once it is started |
| `STOKER_EXECUTOR_LEASE_SECONDS` | the lease of its executors |
"""

import asyncio
import os
import shlex
from dataclasses import dataclass
from typing import Self

from shared.clients import ExecutorClient, PollerClient, RegistryClient
from shared.clients.base import ServiceClient
from tests.waiting import until

READY_SECONDS = 120.0
_COMMAND_SECONDS = 300.0
_PREFIX = "STOKER_TEST_"


@dataclass(frozen=True)
class StackAddress:
    """The addresses of one stack, and an administrator's key."""

    registry_url: str
    executor_url: str
    poller_url: str
    key: str

    @staticmethod
    def is_given() -> bool:
        return all(_variable(name) for name in StackAddress.__dataclass_fields__)

    @classmethod
    def from_environment(cls) -> Self:
        return cls(**{name: _variable(name) for name in cls.__dataclass_fields__})

    def registry(self) -> RegistryClient:
        return RegistryClient(self.registry_url, self.key)

    def executor(self) -> ExecutorClient:
        return ExecutorClient(self.executor_url, self.key)

    def poller(self) -> PollerClient:
        return PollerClient(self.poller_url, self.key)

    async def ready(self) -> None:
        """Wait until every service answers, and all that each of them needs."""
        async with self.registry() as registry, self.executor() as executor, self.poller() as poller:
            services: list[ServiceClient] = [registry, executor, poller]
            for service in services:
                await until(service.ready, f"the {service.service} is ready", seconds=READY_SECONDS)


@dataclass(frozen=True)
class RunningContainers:
    """The stack's containers, by the names of their services."""

    compose: tuple[str, ...]
    second_executor_url: str
    lease_seconds: float

    @staticmethod
    def are_given() -> bool:
        return bool(_variable("compose"))

    @classmethod
    def from_environment(cls) -> Self:
        lease = float(os.environ.get("STOKER_EXECUTOR_LEASE_SECONDS", "30"))
        return cls(tuple(shlex.split(_variable("compose"))), _variable("second_executor_url"), lease)

    async def call(self, *arguments: str) -> str:
        """Run one command of compose; what it said."""
        child = await asyncio.create_subprocess_exec(
            *self.compose, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(_COMMAND_SECONDS):
            said, _ = await child.communicate()
        assert child.returncode == 0, f"{arguments}: {said.decode(errors='replace')}"
        return said.decode(errors="replace")

    async def inside(self, service: str, script: str) -> str:
        """What a shell script says in a service's container, as its user."""
        return await self.call("exec", "-T", service, "sh", "-c", script)

    async def queue_is_written_down(self) -> None:
        """Wait until SLURM has saved all jobs that run: a killed controller forgets those of its last seconds."""
        unsaved = "find /shared/home -path '*/batches/*/claim' -newer /var/lib/cluster/slurmctld/job_state"
        await self.inside("cluster", f'until [ -z "$({unsaved})" ]; do sleep 0.1; done')

    async def let_requeued_jobs_start(self) -> None:
        """Once the cluster works: start at once what SLURM would let rest for two minutes after its node failed."""

        async def works() -> bool:
            return "yes" in await self.inside("cluster", "healthy >/dev/null 2>&1 && echo yes; true")

        await until(works, "the cluster works", seconds=READY_SECONDS)
        jobs = "$(squeue --noheader --states=PENDING --format=%A | sort -u)"
        await self.inside("cluster", f"for job in {jobs}; do scontrol update JobId=$job StartTime=now; done")

    async def kill_and_start(self, *services: str) -> None:
        """SIGKILL for every process in these containers, then start them, in this order."""
        await self.call("kill", "-s", "SIGKILL", *services)
        for service in services:
            await self.call("start", service)


def _variable(name: str) -> str:
    return os.environ.get(_PREFIX + name.upper(), "")
