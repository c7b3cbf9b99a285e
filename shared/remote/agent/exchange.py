"""One request in flight: its answer, the streams in both directions with their credit, and its end."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from shared.remote.agent import frames
from shared.remote.agent.errors import RequestError, aborted
from shared.remote.agent.places import Place

GRANT_AFTER_BYTES = frames.FIRST_CREDIT_BYTES // 4


class Exchange:
    """What a verb talks to. Methods without `on_` are called by the request's thread and may wait; they raise the
    `aborted` error when the other side has given the request up.
    """  # noqa: D205 - one thought

    def __init__(self, request: int, write: Callable[[bytes], None]) -> None:
        self.request = request
        self._write = write
        self._changed = threading.Condition()
        self._credit = frames.FIRST_CREDIT_BYTES
        self._incoming: deque[bytes] = deque()
        self._incoming_allowed = frames.FIRST_CREDIT_BYTES
        self._consumed = 0
        self._incoming_ended = False
        self._aborted = False
        # Held while a frame is written; after the last one nothing may follow.
        self._speaking = threading.Lock()
        self._over = False
        # None while the other side is waited for.
        self._moved_at: float | None = time.monotonic()
        self.given_up = False
        self.place: Place | None = None
        """What the request is about, once that is known."""

    # Called by the thread that reads frames; never waits.

    def on_data(self, data: bytes) -> None:
        """Data of the incoming stream."""
        with self._changed:
            self._incoming_allowed -= len(data)
            if self._incoming_allowed < 0:
                raise frames.ProtocolError("data without credit")
            self._incoming.append(data)
            self._changed.notify_all()

    def on_credit(self, count: int) -> None:
        """The other side can take more."""
        with self._changed:
            self._credit += count
            self._changed.notify_all()

    def on_end(self) -> None:
        """The incoming stream is complete."""
        with self._changed:
            self._incoming_ended = True
            self._changed.notify_all()

    def on_abort(self) -> None:
        """Nobody waits for this request any more."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    # Called by whoever watches over the requests.

    def has_stood_still(self, seconds: float) -> bool:
        """Whether the request's thread has got nowhere for so long."""
        moved_at = self._moved_at
        return moved_at is not None and time.monotonic() - moved_at > seconds

    def give_up(self, error: RequestError) -> bool:
        """End the request with an error while its thread hangs; False when it ended by itself, or speaks."""
        if not self._speaking.acquire(blocking=False):
            return False
        try:
            if self._over:
                return False
            self._over = self.given_up = True
            self._write(_error_frame(self.request, error))
        finally:
            self._speaking.release()
        self.on_abort()
        return True

    # Called by the request's own thread.

    def moved(self) -> None:
        """Note that the request gets on: to be called between file operations of which there may be many."""
        self._moved_at = time.monotonic()

    def answer(self, record: object) -> None:
        """Send the answer; the last frame of this request."""
        self._answer(record, last=True)

    def begin(self, record: object) -> None:
        """Send the head of a stream."""
        self._answer(record, last=False)

    def _answer(self, record: object, *, last: bool) -> None:
        payload = frames.encode_json(record)
        if len(payload) > frames.LARGEST_JSON_BYTES:
            raise RequestError("invalid", "the answer would be too large: ask for less at once", code="E2BIG")
        self._say(frames.encode(frames.ANSWER, self.request, payload), last=last)

    def fail(self, error: RequestError) -> None:
        """Send an error; the last frame of this request."""
        self._say(_error_frame(self.request, error), last=True)

    def _say(self, frame: bytes, *, last: bool = False) -> None:
        with self._speaking:
            if self._over:
                raise aborted()
            self._over = last
            self._moved_at = None
            self._write(frame)
            self._moved_at = time.monotonic()

    def send(self, data: bytes) -> None:
        """Send a piece of the outgoing stream, as fast as the other side takes it."""
        view = memoryview(data)
        while view:
            with self._changed:
                self._moved_at = None
                while not self._aborted and self._credit <= 0:
                    self._changed.wait()
                self._moved_at = time.monotonic()
                if self._aborted:
                    raise aborted()
                count = min(len(view), self._credit, frames.CHUNK_BYTES)
                self._credit -= count
            self._say(frames.encode(frames.DATA, self.request, bytes(view[:count])))
            view = view[count:]

    def finish(self, record: object = None) -> None:
        """End the outgoing stream; the last frame of this request."""
        payload = b"" if record is None else frames.encode_json(record)
        self._say(frames.encode(frames.END, self.request, payload), last=True)

    def receive(self) -> bytes:
        """Return the next piece of the incoming stream, b"" at its end."""
        with self._changed:
            self._moved_at = None
            while not self._aborted and not self._incoming and not self._incoming_ended:
                self._changed.wait()
            self._moved_at = time.monotonic()
            if self._aborted:
                raise aborted()
            if not self._incoming:
                return b""
            data = self._incoming.popleft()
            self._consumed += len(data)
            grant = self._consumed if self._consumed >= GRANT_AFTER_BYTES else 0
            if grant:
                self._consumed = 0
                self._incoming_allowed += grant
        if grant:
            self._say(frames.encode(frames.GRANT, self.request, frames.CREDIT.pack(grant)))
        return data

    def pause(self, seconds: float) -> None:
        """Sleep; raises when the request is given up."""
        with self._changed:
            self._moved_at = None
            given_up = self._aborted or self._changed.wait_for(lambda: self._aborted, seconds)
            self._moved_at = time.monotonic()
        if given_up:
            raise aborted()


def _error_frame(request: int, error: RequestError) -> bytes:
    record = error.record()
    record["message"] = record["message"][:4000]
    return frames.encode(frames.ERROR, request, frames.encode_json(record))
