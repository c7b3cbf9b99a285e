"""The containers of the stack under test, for tests that look into them or kill them.

| variable | meaning |
|---|---|
| `STOKER_TEST_COMPOSE` | a command line, such as `docker-compose --project-name NAME` |
| `STOKER_TEST_SECOND_EXECUTOR_URL` | where the service `executor-2` answers once it is started |
| `STOKER_EXECUTOR_LEASE_SECONDS` | the lease of its executors |
"""

import asyncio
import os
import shlex
from dataclasses import dataclass
from typing import Self

from tests.over_http.address import READY_SECONDS
from tests.waiting import until

_COMMAND_SECONDS = 300.0
_PREFIX = "STOKER_TEST_"


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
