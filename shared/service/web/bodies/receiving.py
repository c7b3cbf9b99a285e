"""Receiving bodies: all of them together are bounded, and one that never comes is no failure of the service."""

from typing import Any

from litestar.types import Receive

from shared.service.web.bodies.large import LARGE_BYTES
from shared.service.web.problems import Refused
from stoker.errors import Unavailable

_RETRY_SECONDS = 5


class BodyRoom:
    """The room for the bodies of one server."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0


class Receiving:
    """One request's `receive`; `done` gives back the room that its body took."""

    __slots__ = ("_complete", "_held", "_receive", "_room")

    def __init__(self, receive: Receive, room: BodyRoom) -> None:
        self._receive = receive
        self._room = room
        self._held = 0
        self._complete = False

    async def __call__(self) -> Any:
        """Return the next message. Raises Unavailable when too much is being received at once."""
        message: Any = await self._receive()
        if message["type"] != "http.request":
            if not self._complete:
                self._complete = True
                raise Refused("bad-request", "the connection was closed before the body had come")
            return message
        self._complete = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self._held += size
        self._room.held_bytes += size
        # Small bodies are always taken: what a thousand clients ask meanwhile is not much.
        if self._room.held_bytes > self._room.most_bytes and self._held > LARGE_BYTES:
            words = "too many large bodies are being received at this moment: try again"
            raise Unavailable(words, retry_after_seconds=_RETRY_SECONDS)
        return message

    def done(self) -> None:
        """The request was answered."""
        self._room.held_bytes -= self._held
        self._held = 0
