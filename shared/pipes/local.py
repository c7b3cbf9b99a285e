"""The pipe of a local resource: an agent as a child process of the service, its source sent down the pipe."""

import asyncio
import contextlib
import os
import sys

from shared.bundle import agent_source
from shared.errors import Unavailable
from shared.pipes.errors import PipeLost

CHUNK_BYTES = 64 * 1024
DIAGNOSIS_BYTES = 4000
FAREWELL_SECONDS = 6.0
ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "TZ")
"""All that an agent, and with it every unit, gets of the service's environment."""

BOOTSTRAP = """
import os
def take(count):
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece: raise SystemExit(0)
        data += piece
    return data
exec(compile(take(int(take(12))), "<stoker-agent>/agent.py", "exec"), {"__name__": "__main__"})
"""
"""Reads a length of twelve digits, then so many bytes of source, and runs them."""


class LocalPipe:
    """Standard input and output of a child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise TypeError("the process has to be started with three pipes")
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._last_words = b""
        self._listener = asyncio.create_task(self._listen())
        self._closing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The agent's process id."""
        return self._process.pid

    async def read(self) -> bytes:
        """Return some bytes, b"" at the end."""
        try:
            return await self._stdout.read(CHUNK_BYTES)
        except OSError as error:
            raise PipeLost(f"the pipe broke: {error}") from error

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._stdin.write(data)
            await self._stdin.drain()
        except (OSError, RuntimeError) as error:
            raise PipeLost(f"the pipe broke: {error}") from error

    async def close(self) -> None:
        """Close the agent's input, which ends it; kill it if it does not."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    def diagnosis(self) -> str:
        """Last words on standard error."""
        return self._last_words.decode("utf-8", "replace")

    async def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._stderr.read(CHUNK_BYTES):
                self._last_words = (self._last_words + data)[-DIAGNOSIS_BYTES:]

    async def _end(self) -> None:
        self._stdin.close()
        drain = asyncio.create_task(self._drain())
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        for task in (drain, self._listener):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, RuntimeError):
                await task
        with contextlib.suppress(OSError):
            await self._stdin.wait_closed()

    async def _drain(self) -> None:
        """Take what the agent still says, so that it does not wait for us while it ends."""
        while await self._stdout.read(CHUNK_BYTES):
            pass


async def open_local_pipe(python: str | None = None) -> LocalPipe:
    """Start an agent with `python` (default: the interpreter of this process)."""
    command = [python or sys.executable, "-I", "-S", "-c", BOOTSTRAP]
    pipe = asyncio.subprocess.PIPE
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd="/", start_new_session=True
        )
    except OSError as error:
        raise Unavailable(f"the agent cannot be started: {error}") from error
    opened = LocalPipe(process)
    try:
        source = agent_source()
        await opened.write(b"%012d" % len(source) + source)
    except BaseException:
        await opened.close()
        raise
    return opened
