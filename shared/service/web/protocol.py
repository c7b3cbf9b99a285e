"""HTTP as uvicorn speaks it, with bounds: on a request's head and its time, on a body's time, on requests sent ahead.

uvicorn bounds none of them, and reads what it is sent into memory before anybody knows who sends it. What is refused
here never reached the application: the answer is a problem, like those that come from there.
"""

import asyncio
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from shared.service.logs import get_logger
from shared.service.web.doors import Doors
from shared.service.web.problems import MEDIA_TYPE, problem

# More requests than this that were sent before the first was answered: nobody's client does that.
_SENT_AHEAD = 16
# How long a refused connection is still read from, so that its answer arrives: closing at once would take it back.
_LINGER_SECONDS = 2.0
_LINGERING = 100

log = get_logger()


class BoundedConfig(Config):
    """uvicorn's configuration of a server with doors."""

    def __init__(self, app: Any, doors: Doors, **options: Any) -> None:
        self.doors = doors
        super().__init__(app, http=BoundedProtocol, ws="none", **options)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: BoundedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._doors = config.doors
        self._limits = config.doors.limits
        # What of the message that is being read is held in memory, and bytes since the parser handed anything out.
        self._head_bytes = 0
        self._held_back = 0
        self._in_body = False
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it where there are too many."""
        super().connection_made(transport)
        if self._doors.enter(self, self.client[0] if self.client else ""):
            self._give(self._limits.header_seconds)
        elif len(self.connections) > self._limits.connections + _LINGERING:
            self._refused = True
            transport.abort()
        else:
            self._refuse("unavailable", "too many connections are open: try again", "retry-after: 1")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._take_back()
        self._doors.leave(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops."""
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def make_room(self) -> None:
        """Close: another connection is to have the place."""
        self._doors.leave(self)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on, if the head of the request keeps its bounds."""
        if self._refused:
            return
        if self._timer is None and not self._in_body and not self._is_answering():
            self._give(self._limits.header_seconds)
        self._held_back += len(data)
        super().data_received(data)
        if self._held_back > self._limits.header_bytes and not self._refused:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Count anew."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count; fields behind the body (trailers) are left out, as nobody asks for any."""
        self._count(len(name) + len(value) + len(": \r\n"))
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin with the request, whose body has its own time."""
        if len(self.pipeline) >= _SENT_AHEAD:
            self._refuse("bad-request", f"more than {_SENT_AHEAD} requests were sent ahead")
            raise _RefusedError
        self._held_back = 0
        self._in_body = True
        self._doors.works(self)
        self._give(self._limits.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand it on."""
        self._held_back = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it has come."""
        self._held_back = self._head_bytes = 0
        self._in_body = False
        self._take_back()
        super().on_message_complete()
        if not self._is_answering():
            # It was answered before its body had come.
            self._doors.waits(self)
            self._give(self._limits.header_seconds)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.pipeline and not self._in_body:
            self._doors.waits(self)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        if not self._refused:
            self._refuse("bad-request", msg.removesuffix("."))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.header_bytes:
            self._refuse_head()
            raise _RefusedError

    def _give(self, seconds: float) -> None:
        self._take_back()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _take_back(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        part, seconds = (
            ("body", self._limits.body_seconds) if self._in_body else ("headers", self._limits.header_seconds)
        )
        if not self._in_body and not self._head_bytes and not self._held_back:
            # Nothing was ever asked.
            self.transport.close()
        else:
            self._refuse("request-timeout", f"the {part} of the request did not come within {seconds:g} s")

    def _refuse_head(self) -> None:
        self._refuse(
            "headers-too-large", f"the headers of the request are larger than {self._limits.header_bytes} bytes"
        )

    def _refuse(self, slug: str, detail: str, *headers: str) -> None:
        """Answer with a problem, if no answer has begun, and close."""
        self._refused = True
        self._take_back()
        self._unset_keepalive_if_required()
        self._doors.leave(self)
        log.info("refused", reason=slug, detail=detail, address=self.client[0] if self.client else None)
        if self._is_answering():
            begun = bool(self.pipeline) or self.cycle.response_started
            self.pipeline.clear()
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if begun:
                self.transport.close()
                return
        status, body = problem(slug, detail)
        head = [f"content-type: {MEDIA_TYPE}", f"content-length: {len(body)}", "connection: close", *headers]
        self.transport.write(STATUS_LINE[status] + "\r\n".join([*head, "", ""]).encode() + body)
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


class _RefusedError(httptools.HttpParserError):
    """The parser need not go on."""
