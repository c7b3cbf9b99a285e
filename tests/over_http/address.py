"""Where the stack under test answers.

| variable | meaning |
|---|---|
| `STOKER_TEST_REGISTRY_URL`, `STOKER_TEST_EXECUTOR_URL`, `STOKER_TEST_POLLER_URL` | its addresses |
| `STOKER_TEST_KEY` | an administrator's key |
"""

import os
from dataclasses import dataclass, field
from typing import Self

from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.clients.base import ServiceClient
from tests.stack.command_line import CommandLine
from tests.waiting import until

READY_SECONDS = 120.0


@dataclass(frozen=True)
class StackAddress:
    """The addresses of one stack, and an administrator's key."""

    registry_url: str
    executor_url: str
    poller_url: str
    key: str = field(repr=False)  # failures are printed

    @staticmethod
    def is_given() -> bool:
        return all(os.environ.get(f"STOKER_TEST_{name.upper()}", "") for name in StackAddress.__dataclass_fields__)

    @classmethod
    def from_environment(cls) -> Self:
        return cls(**{name: os.environ.get(f"STOKER_TEST_{name.upper()}", "") for name in cls.__dataclass_fields__})

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

    @property
    def settings(self) -> dict[str, str]:
        """What leads the command line there."""
        return {
            "STOKER_REGISTRY_URL": self.registry_url,
            "STOKER_EXECUTOR_URL": self.executor_url,
            "STOKER_POLLER_URL": self.poller_url,
            "STOKER_KEY": self.key,
        }

    def command_line(self) -> CommandLine:
        return CommandLine(self.settings)
