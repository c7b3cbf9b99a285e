"""A TCP line between two programs that delays, is narrow, breaks and goes silent on command.

`Line` runs it as a process of its own, so that it neither slows the test down nor is slowed down by it.
"""

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

_WAITING_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024
_UNLIMITED = 100e6


class Line:
    """`port` of 127.0.0.1 leads to `target_port`. Delay is one way; bandwidth is bytes per second, each way."""

    def __init__(self, target_port: int, *, target_host: str = "127.0.0.1") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.line", target_host, str(target_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port: int = self._read()["port"]

    def set(self, *, delay_seconds: float = 0.0, bandwidth: float | None = None) -> None:
        """For what comes from now on."""
        self._ask("set", delay_seconds=delay_seconds, bandwidth=bandwidth)

    def cut(self, *, after_bytes: int = 0, towards_server: bool = True) -> None:
        """Close all connections, once so many more bytes have gone in that direction; new ones work."""
        self._ask("break", how="cut", after_bytes=after_bytes, towards_server=towards_server)

    def drop(self, *, after_bytes: int = 0, towards_server: bool = True) -> None:
        """Forward nothing any more and close nothing; new connections fare the same, until `heal`."""
        self._ask("break", how="drop", after_bytes=after_bytes, towards_server=towards_server)

    def refuse(self, *, after_bytes: int = 0, towards_server: bool = True) -> None:
        """Cut, and close new connections at once, until `heal`."""
        self._ask("break", how="refuse", after_bytes=after_bytes, towards_server=towards_server)

    def heal(self) -> None:
        """New connections work; those that went silent stay so."""
        self._ask("heal")

    def counts(self) -> dict[str, int]:
        """`connections` ever made, `open` now, bytes `towards_server` and `towards_client`, how often `broken`.

        `turns`: how often a client spoke after it had been spoken to, which is what a long line makes slow.
        """
        return self._ask("counts")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _ask(self, command: str, **options: Any) -> dict[str, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **options}).encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, int]:
        assert self._process.stdout is not None
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer


class _Proxy:
    """The process's side."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.delay_seconds = 0.0
        self.bandwidth: float | None = None
        self.mode = ""
        self._planned: tuple[str, str, int] | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._counts = {"connections": 0, "broken": 0, "towards_server": 0, "towards_client": 0, "turns": 0}

    def obey(self, command: dict[str, Any]) -> dict[str, int]:
        if command["command"] == "set":
            self.delay_seconds, self.bandwidth = command["delay_seconds"], command["bandwidth"]
        elif command["command"] == "heal":
            self.mode = ""
        elif command["command"] == "break":
            direction = "towards_server" if command["towards_server"] else "towards_client"
            self._planned = (command["how"], direction, self._counts[direction] + command["after_bytes"])
            self._break_when_due()
        return {**self._counts, "open": len(self._open)}

    def _break_when_due(self) -> None:
        if self._planned is None or self._counts[self._planned[1]] < self._planned[2]:
            return
        how, self._planned = self._planned[0], None
        self._counts["broken"] += 1
        self.mode = "" if how == "cut" else how
        for task in tuple(self._open) if how != "drop" else ():
            task.cancel()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._counts["connections"] += 1
        if self.mode == "refuse":
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        silent = asyncio.Event()
        far_writer = None
        try:
            if self.mode == "drop":
                await silent.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as group:
                talk = _Talk()
                group.create_task(_Direction(self, talk, "towards_server").carry(reader, far_writer))
                group.create_task(_Direction(self, talk, "towards_client").carry(far_reader, writer))
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            pass
        for one in filter(None, (writer, far_writer)):
            one.transport.abort()

    def count(self, direction: str, data: bytes, talk: "_Talk") -> None:
        self._counts[direction] += len(data)
        self._counts["turns"] += direction == "towards_server" != talk.last
        talk.last = direction
        self._break_when_due()


class _Talk:
    """One connection: who spoke last."""

    last = "towards_client"


class _Direction:
    """One direction of one connection: what was read waits until it is due."""

    def __init__(self, proxy: _Proxy, talk: _Talk, name: str) -> None:
        self._proxy = proxy
        self._talk = talk
        self._name = name
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._size = 0
        self._room = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(reader))
            group.create_task(self._deliver(writer))

    async def _take(self, reader: asyncio.StreamReader) -> None:
        free_at = 0.0
        data = b"-"
        while data:
            data = await reader.read(_CHUNK_BYTES)
            await self._stop_when_silent()
            self._proxy.count(self._name, data, self._talk)
            await self._stop_when_silent()
            bandwidth, delay = self._proxy.bandwidth, self._proxy.delay_seconds
            free_at = max(time.monotonic(), free_at) + (len(data) / bandwidth if bandwidth else 0.0)
            self._size += len(data)
            self._waiting.put_nowait((free_at + delay, data))
            # As much as the line holds, and a little more as routers do.
            while self._size > _WAITING_BYTES + 2 * delay * (bandwidth or _UNLIMITED):
                self._room.clear()
                await self._room.wait()

    async def _deliver(self, writer: asyncio.StreamWriter) -> None:
        data = b"-"
        while data:
            due, data = await self._waiting.get()
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            await self._stop_when_silent()
            if data:
                writer.write(data)
                await writer.drain()
            self._size -= len(data)
            self._room.set()
        writer.write_eof()

    async def _stop_when_silent(self) -> None:
        if self._proxy.mode == "drop":
            await asyncio.Event().wait()


async def _serve(host: str, port: int) -> None:
    proxy = _Proxy(host, port)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0, limit=2 * _CHUNK_BYTES)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    answers = sys.stdout
    answers.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    answers.flush()
    while line := await commands.readline():
        answers.write(json.dumps(proxy.obey(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
