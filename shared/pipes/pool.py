"""Open connections, one per profile, shared by all requests of a service."""

from collections.abc import Awaitable, Callable

from shared.contracts.holds import Connection
from shared.pipes.connection import AgentConnection
from shared.pipes.local import open_local_pipe
from shared.pipes.pipe import Pipe


async def open_pipe(connection: Connection) -> Pipe:
    """Open the pipe that the resource's type asks for. Raises Unavailable, or Invalid for a type that is not served."""
    return await open_local_pipe()


class AgentPool:
    """`agent` answers a working connection or raises Unavailable; while a resource is away it does so at once.

    Connections are opened when needed, shared, closed after a quiet while, and re-opened with back-off and jitter.
    """

    def __init__(
        self,
        *,
        opener: Callable[[Connection], Awaitable[Pipe]] = open_pipe,
        quiet_seconds: float = 300.0,
        first_delay_seconds: float = 0.5,
        longest_delay_seconds: float = 60.0,
    ) -> None:
        raise NotImplementedError

    async def agent(self, connection: Connection) -> AgentConnection:
        """Return the connection of this profile (key: profile and resource, with their versions)."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError
