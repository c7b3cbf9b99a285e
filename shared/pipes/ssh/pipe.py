"""The held channel as a pipe: three threads move the bytes, the event loop never waits for the network."""

import asyncio
import contextlib
import threading
import time

import paramiko

from shared.pipes.ssh.buffers import Inflow, Outflow
from shared.pipes.ssh.line import SshLine
from shared.pipes.ssh.target import SshLimits
from shared.pipes.ssh.threads import in_thread

CHUNK_BYTES = 256 * 1024
DIAGNOSIS_BYTES = 4000
_STATUS_SECONDS = 2.0
_LAST_WORDS_SECONDS = 2.0


class SshPipe:
    """Standard input and output of the command at the other end of `line`."""

    def __init__(self, line: SshLine, channel: paramiko.Channel, limits: SshLimits) -> None:
        self._line = line
        self._channel = channel
        self._limits = limits
        self._inflow, self._outflow = Inflow(), Outflow()
        self._put_back = b""
        self._last_words = b""
        self._broken = ""
        self._threads = self._receiver, self._sender, self._listener = [
            threading.Thread(target=work, name=f"ssh {line.target.shown}", daemon=True)
            for work in (self._receive, self._send, self._listen)
        ]
        for thread in self._threads:
            thread.start()
        self._keeping_alive = asyncio.create_task(self._keep_alive())
        self._closing: asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        """Return some bytes, b"" at the end."""
        if self._put_back:
            data, self._put_back = self._put_back, b""
            return data
        return await self._inflow.take()

    def put_back(self, data: bytes) -> None:
        """Let the next `read` return this."""
        self._put_back = data + self._put_back

    async def write(self, data: bytes) -> None:
        """Send all of `data`; PipeLost when the line is broken."""
        await self._outflow.put(data)

    async def close(self) -> None:
        """Close the agent's input, which ends it, and the connection."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def diagnosis(self) -> str:
        """Return why the line broke, and the last words on standard error: at its end another thread hears them."""
        if self._inflow.ended or self._outflow.ended:
            await in_thread(lambda: self._listener.join(_LAST_WORDS_SECONDS), "ssh last words")
        words = self._last_words.decode("utf-8", "replace").strip()
        return "; ".join(filter(None, (self._broken, words)))

    async def exit_status(self) -> int | None:
        """Of the command that has ended; None when it is not told (soon)."""
        channel = self._channel
        await in_thread(lambda: channel.status_event.wait(_STATUS_SECONDS), "ssh status")
        return channel.exit_status if channel.exit_status_ready() and channel.exit_status >= 0 else None

    def _receive(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := self._channel.recv(CHUNK_BYTES):
                self._inflow.put(data)
        self._note_loss()
        self._inflow.end()
        self._outflow.end(self._broken or "the connection was closed")

    def _send(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while data := self._outflow.take():
                self._channel.sendall(data)
            self._channel.shutdown_write()
        self._outflow.end("the connection is broken")

    def _listen(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := self._channel.recv_stderr(CHUNK_BYTES):
                self._last_words = (self._last_words + data)[-DIAGNOSIS_BYTES:]

    def _note_loss(self) -> None:
        transport = self._line.transport
        if not self._broken and not transport.is_active() and self._closing is None:
            self._broken = f"the connection to {self._line.target.shown} broke"

    async def _keep_alive(self) -> None:
        """Say something on a quiet line, so that nothing in between forgets it; end one that does not answer."""
        while True:
            await asyncio.sleep(max(0.05, self._inflow.heard_at + self._limits.quiet - time.monotonic()))
            asked_at = time.monotonic()
            if asked_at - self._inflow.heard_at < self._limits.quiet:
                continue
            try:
                async with asyncio.timeout(self._limits.answer):
                    await in_thread(self._ask_for_a_sign, "ssh keep-alive")
                await asyncio.sleep(self._limits.quiet)
            except TimeoutError:
                if self._inflow.heard_at < asked_at:
                    silent = time.monotonic() - self._inflow.heard_at
                    self._broken = f"nothing was heard of {self._line.target.shown} for {silent:.0f} seconds"
                    self._outflow.end(self._broken)
                    self._inflow.end()
                    await in_thread(self._line.abandon, "ssh close")
                    return

    def _ask_for_a_sign(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._line.transport.global_request("keepalive@openssh.com", wait=True)

    async def _end(self) -> None:
        self._keeping_alive.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeping_alive
        self._outflow.end("the connection was closed")
        self._inflow.end()
        await in_thread(self._hang_up, "ssh close")

    def _hang_up(self) -> None:
        # The end of the agent's input goes out before the connection does, on a line that works.
        self._sender.join(_STATUS_SECONDS)
        self._line.abandon()
        for thread in self._threads:
            thread.join(_STATUS_SECONDS)
