"""Open connections, one per profile, shared by all requests of a service."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from shared.pipes.connection import AgentConnection
from shared.pipes.errors import Unreachable
from shared.pipes.local import open_local_pipe
from shared.pipes.opening import PipeOpener, open_pipe
from shared.pipes.pipe import Pipe
from shared.pipes.roots import roots_of
from shared.pipes.slurm_place import slurm_of
from stoker.backoff import pause_seconds
from stoker.contracts.holds import Connection
from stoker.contracts.resources import SlurmSudoResourceSpec
from stoker.errors import Unavailable

SHORT_LIFE_SECONDS = 10.0
"""A connection that is lost sooner than this counts as a failure to connect."""


class _Entry:
    """One profile's connection, or why there is none."""

    def __init__(self) -> None:
        self.opening = asyncio.Lock()
        self.connection: AgentConnection | None = None
        self.opened_at = 0.0
        self.failures = 0
        self.unreachable_since: float | None = None
        self.error = ""
        self.retry_at = 0.0

    @property
    def works(self) -> bool:
        """Whether there is a connection that is not lost."""
        return self.connection is not None and self.connection.lost is None


_Key = tuple[str, int, str, int, tuple[tuple[str, str], ...]]
_OWN_IDENTITY = ""
"""Stands for the profile where the service asks as itself."""


class AgentPool:
    """`agent` answers a working connection or raises Unavailable; while a resource is away it does so at once.

    Connections are opened when needed, shared, closed after a quiet while, and re-opened with back-off and jitter.
    """

    def __init__(
        self,
        *,
        opener: PipeOpener = open_pipe,
        own_opener: Callable[[], Awaitable[Pipe]] = open_local_pipe,
        quiet_seconds: float = 300.0,
        first_delay_seconds: float = 0.5,
        longest_delay_seconds: float = 60.0,
        answer_timeout_seconds: float = 30.0,
    ) -> None:
        self._opener = opener
        self._own_opener = own_opener
        self._quiet_seconds = quiet_seconds
        self._first_delay_seconds = first_delay_seconds
        self._longest_delay_seconds = longest_delay_seconds
        self._answer_timeout_seconds = answer_timeout_seconds
        self._entries: dict[_Key, _Entry] = {}
        self._janitor: asyncio.Task[None] | None = None
        self._closed = False

    async def agent(self, connection: Connection, roots: Mapping[str, str] | None = None) -> AgentConnection:
        """Return the connection of this profile (key: profile, resource, their versions, the roots).

        `roots` are those that follow from `connection`, unless others are given: a job stays in the folders that it
        was accepted with. Raises Unreachable (says since when) while it cannot be opened, Invalid when it never can.
        """
        roots = roots_of(connection) if roots is None else roots
        key = (*_versions(connection), tuple(sorted(roots.items())))

        async def opened() -> Pipe:
            return await self._opener(connection)

        return await self._working(key, connection, roots, opened)

    async def scheduler_agent(
        self, connection: Connection, *, as_user: bool = False, roots: Mapping[str, str] | None = None
    ) -> AgentConnection:
        """Return an agent that can ask the resource's scheduler. Raises as `agent` does.

        It touches no file, so any connection of the profile will do: one that works, else one that is being opened
        or backed off from. Only where there is none at all, one is opened, with `roots` as `agent` has them: say
        those that will be asked for, and it stays the only one. On `slurm_sudo` it is the service itself that asks,
        with one agent for all profiles of the resource, unless `as_user` (where users do not see each other's jobs).
        """
        if isinstance(connection.resource.spec, SlurmSudoResourceSpec) and not as_user:
            resource = connection.resource
            own: _Key = (_OWN_IDENTITY, 0, resource.id, resource.version, ())
            return await self._working(own, connection, {}, self._own_opener)
        versions = _versions(connection)
        known = [(key, entry) for key, entry in self._entries.items() if key[:-1] == versions]
        if known:
            key, _ = max(known, key=lambda one: one[1].works)
            roots = dict(key[-1])
        return await self.agent(connection, roots)

    async def _working(
        self, key: _Key, connection: Connection, roots: Mapping[str, str], opener: Callable[[], Awaitable[Pipe]]
    ) -> AgentConnection:
        entry = self._entries.setdefault(key, _Entry())
        if entry.connection is not None and entry.connection.lost is None:
            return entry.connection
        if entry.failures and entry.opening.locked():
            # Somebody tries again: whoever waited for that too would be held up as long as a hanging host likes.
            raise self._unreachable(entry, connection)
        async with entry.opening:
            if entry.connection is not None and entry.connection.lost is None:
                return entry.connection
            if entry.connection is not None:
                self._note_loss(entry, entry.connection.lost or "")
                entry.connection = None
            self._refuse_while_backing_off(entry, connection)
            return await self._open(entry, connection, roots, opener)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._janitor is not None:
            self._janitor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._janitor
        entries, self._entries = self._entries, {}
        await asyncio.gather(*(one.connection.close() for one in entries.values() if one.connection is not None))

    async def _open(
        self,
        entry: _Entry,
        connection: Connection,
        roots: Mapping[str, str],
        opener: Callable[[], Awaitable[Pipe]],
    ) -> AgentConnection:
        if self._closed:
            raise Unavailable("the service is stopping")
        try:
            pipe = await opener()
            opened = await AgentConnection.open(
                pipe, roots, slurm=slurm_of(connection), answer_timeout_seconds=self._answer_timeout_seconds
            )
        except Unavailable as error:
            self._note_failure(entry, error.message)
            raise self._unreachable(entry, connection) from error
        entry.connection, entry.opened_at = opened, time.monotonic()
        entry.unreachable_since = None
        if self._janitor is None:
            self._janitor = asyncio.create_task(self._close_quiet_ones())
        return opened

    def _refuse_while_backing_off(self, entry: _Entry, connection: Connection) -> None:
        if time.monotonic() < entry.retry_at:
            raise self._unreachable(entry, connection)

    def _note_loss(self, entry: _Entry, why: str) -> None:
        """A connection that worked for a while is re-opened at once; one that never lasts is backed off from."""
        if time.monotonic() - entry.opened_at < SHORT_LIFE_SECONDS:
            self._note_failure(entry, why)
            entry.unreachable_since = time.time()
            # The first loss may be chance.
            entry.retry_at = entry.retry_at if entry.failures > 1 else 0.0
        else:
            entry.failures = 0

    def _note_failure(self, entry: _Entry, why: str) -> None:
        entry.failures += 1
        entry.error = why
        entry.unreachable_since = entry.unreachable_since or time.time()
        entry.retry_at = time.monotonic() + pause_seconds(
            entry.failures, first_seconds=self._first_delay_seconds, longest_seconds=self._longest_delay_seconds
        )

    def _unreachable(self, entry: _Entry, connection: Connection) -> Unreachable:
        since = entry.unreachable_since or time.time()
        shown = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
        return Unreachable(
            f"{connection.resource.name} is unreachable since {shown}: {entry.error}",
            since=since,
            retry_after_seconds=max(0.5, entry.retry_at - time.monotonic()),
        )

    async def _close_quiet_ones(self) -> None:
        while True:
            await asyncio.sleep(self._quiet_seconds / 4)
            for key, entry in tuple(self._entries.items()):
                if entry.opening.locked():
                    continue
                if entry.connection is None:
                    if time.monotonic() - entry.retry_at > self._quiet_seconds:
                        del self._entries[key]  # nobody asks for it any more (an older version of a profile)
                    continue
                idle_since = entry.connection.idle_since
                quiet = idle_since is not None and time.monotonic() - idle_since > self._quiet_seconds
                if quiet:
                    del self._entries[key]
                    await entry.connection.close()


def _versions(connection: Connection) -> tuple[str, int, str, int]:
    profile, resource = connection.profile, connection.resource
    return profile.id, profile.version, resource.id, resource.version
