"""Running an application: uvicorn with one worker, uvloop, and a stop that ends within a bound."""

import asyncio
import signal
import socket
import sys

import uvicorn
from litestar import Litestar

from shared.service.logs import get_logger
from shared.service.settings import ServiceSettings
from shared.service.web.doors import Doors
from shared.service.web.protocol import BoundedConfig

log = get_logger()


class _Server(uvicorn.Server):
    """Tells endless answers to end before it waits for answers to be complete."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping")
        self._stopping.set()
        await super().shutdown(sockets)


def serve(app: Litestar, settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT. Exits with status 1 when the address is taken or the start fails.

    Logs `listening` with the address as `url`, after the port is open: with port 0, the one that was picked.
    """
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    config = BoundedConfig(
        app,
        Doors(app.state.limits),
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.stop_timeout_seconds,
    )
    server = _Server(config, app.state.stopping)
    # uvicorn raises the signal again after a graceful stop, for whoever handled it before: nobody has to, and a
    # stop that was asked for is not a failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log.info("listening", url=f"http://{shown}:{port}")
    server.run(sockets=[listener])
    if not server.started:
        log.error("could not start")
        sys.exit(1)
    log.info("stopped")


def _listen(settings: ServiceSettings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.listen_host, None, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(
            (settings.listen_host, settings.listen_port), family=family, backlog=2048, reuse_port=False
        )
    except OSError as error:
        log.error(  # noqa: TRY400 - the traceback says nothing more
            "cannot listen", address=f"{settings.listen_host}:{settings.listen_port}", error=str(error)
        )
        sys.exit(1)
