"""An HTTP server on loopback that answers as a test says, byte by byte, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple


class Seen(NamedTuple):
    """One request that came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Answers each request with the next of `answers`; then the connection is closed, as a dying server does."""

    def __init__(self, answers: list[bytes]) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self._answers = list(answers)

    @property
    def answers_left(self) -> int:
        return len(self._answers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.seen.append(Seen(method, target, headers, body))
            writer.write(self._answers.pop(0) if self._answers else answer(b"{}", status="500 Script Ended"))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncGenerator[ScriptedServer]:
    script = ScriptedServer(list(answers))
    server = await asyncio.start_server(script._serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    script.url = f"http://{host}:{port}"
    async with server:
        yield script


def answer(body: bytes, *, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def stream(*chunks: bytes, content_type: str = "text/event-stream", complete: bool = False) -> bytes:
    """A chunked answer; unless `complete`, it breaks off after the last chunk."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + (b"0\r\n\r\n" if complete else b"")


NO_ANSWER = b""
"""The connection breaks before a word was said."""
