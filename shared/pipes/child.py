"""A pipe to an agent that is a child process of the service, on its standard input and output."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from shared.pipes.errors import PipeLost
from stoker.errors import Unavailable

CHUNK_BYTES = 64 * 1024
DIAGNOSIS_BYTES = 4000
FAREWELL_SECONDS = 6.0
LAST_WORDS_SECONDS = 2.0


class ChildPipe:
    """Standard input and output of a child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise TypeError("the process has to be started with three pipes")
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._last_words = b""
        self._over = False
        self._listener = asyncio.create_task(self._listen())
        self._closing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The agent's process id."""
        return self._process.pid

    async def read(self) -> bytes:
        """Return some bytes, b"" at the end."""
        try:
            data = await self._stdout.read(CHUNK_BYTES)
        except OSError as error:
            self._over = True
            raise PipeLost(f"the pipe broke: {error}") from error
        self._over = self._over or not data
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._stdin.write(data)
            await self._stdin.drain()
        except (OSError, RuntimeError) as error:
            self._over = True
            raise PipeLost(f"the pipe broke: {error}") from error

    async def close(self) -> None:
        """Close the agent's input, which ends it; kill it if it does not."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def diagnosis(self) -> str:
        """Return the last words on standard error; of a child that has ended, wait for them a moment."""
        if self._over:
            await asyncio.wait([self._listener], timeout=LAST_WORDS_SECONDS)
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
            await self._kill()
        for task in (drain, self._listener):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, RuntimeError):
                await task
        with contextlib.suppress(OSError):
            await self._stdin.wait_closed()

    async def _kill(self) -> None:
        """Kill it if it is ours to kill, and close our ends: what sudo started may hold the others for ever."""
        transport = getattr(self._process, "_transport", None)
        for end in (self._process.kill, getattr(transport, "close", None)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if end is not None:
                    end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._process.wait()

    async def _drain(self) -> None:
        """Take what the agent still says, so that it does not wait for us while it ends."""
        while await self._stdout.read(CHUNK_BYTES):
            pass


async def start_child(command: Sequence[str], environment: Mapping[str, str]) -> ChildPipe:
    """Start a process with nothing of the service's environment but what is given.

    Raises FileNotFoundError where there is no such program, Unavailable where it cannot be started.
    """
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(environment), cwd="/", start_new_session=True
        )
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(f"{command[0]} cannot be started: {error.strerror or error}") from error
    return ChildPipe(process)
