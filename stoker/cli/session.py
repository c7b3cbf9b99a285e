"""Which Stoker the command line talks to, and as whom."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import typer

from stoker.cli.state_folder import StateFolder
from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.clients.base import ServiceClient
from stoker.errors import Invalid
from stoker.secrets import Secret

T = TypeVar("T")
C = TypeVar("C", bound=ServiceClient)


def default_state_folder() -> Path:
    """`~/.local/state/stoker`, or below XDG_STATE_HOME."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "stoker"


class Session:
    """Clients of the services: addresses and key from STOKER_* variables, else from the stack in the state folder.

    `local_only`: the variables do not count.
    """

    def __init__(self, folder: StateFolder, *, local_only: bool = False) -> None:
        self._folder = folder
        self._environment: Mapping[str, str] = {} if local_only else os.environ
        self._record = folder.read_record()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @cached_property
    def registry(self) -> RegistryClient:
        """Client of the registry."""
        return self._client(RegistryClient)

    @cached_property
    def executor(self) -> ExecutorClient:
        """Client of the executor."""
        return self._client(ExecutorClient)

    @cached_property
    def poller(self) -> PollerClient:
        """Client of the poller."""
        return self._client(PollerClient)

    def _client(self, kind: type[C]) -> C:
        variable = f"STOKER_{kind.service.upper()}_URL"
        given = self._environment.get(variable)
        known: str | None = getattr(self._record, kind.service, None)
        url = given or known
        if url is None:
            raise Invalid(
                f"no Stoker is known: start one with `stoker up` (looked in {self._folder.path}), or set {variable}"
            )
        client = kind(url, self._key(local=given is None))
        self._open.push_async_callback(client.aclose)
        return client

    def _key(self, *, local: bool) -> Secret:
        given = self._environment.get("STOKER_KEY")
        # The stack's own key is an administrator's: it goes to the stack's own addresses only.
        kept = self._folder.read_key(self._folder.admin_key) if local else None
        key = given or kept
        if key is None:
            raise Invalid("no access key is known: set STOKER_KEY")
        return Secret(key)


def run(context: typer.Context, work: Callable[[Session], Awaitable[T]]) -> T:
    """Run a command's work with a session that is closed at its end."""

    async def main() -> T:
        async with Session(StateFolder(context.obj)) as session:
            return await work(session)

    return asyncio.run(main())
