"""The pipe of a local resource: an agent as a child process of the service."""

from shared.pipes.pipe import Pipe


async def open_local_pipe(python: str | None = None) -> Pipe:
    """Start an agent with `python` (default: the interpreter of this process)."""
    raise NotImplementedError
