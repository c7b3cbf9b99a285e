"""One request in flight: its answer, the streams in both directions with their credit, and its end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from shared.remote.agent import frames
from shared.remote.agent.errors import RequestError, aborted

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

    # Called by the request's own thread.

    def answer(self, record: object) -> None:
        """Send the answer, or the head of a stream."""
        payload = frames.encode_json(record)
        if len(payload) > frames.LARGEST_JSON_BYTES:
            raise RequestError("invalid", "the answer would be too large: ask for less at once")
        self._write(frames.encode(frames.ANSWER, self.request, payload))

    def fail(self, error: RequestError) -> None:
        """Send an error; the last frame of this request."""
        record = error.record()
        record["message"] = record["message"][:4000]
        self._write(frames.encode(frames.ERROR, self.request, frames.encode_json(record)))

    def send(self, data: bytes) -> None:
        """Send a piece of the outgoing stream, as fast as the other side takes it."""
        view = memoryview(data)
        while view:
            with self._changed:
                while not self._aborted and self._credit <= 0:
                    self._changed.wait()
                if self._aborted:
                    raise aborted()
                count = min(len(view), self._credit, frames.CHUNK_BYTES)
                self._credit -= count
            self._write(frames.encode(frames.DATA, self.request, bytes(view[:count])))
            view = view[count:]

    def finish(self, record: object = None) -> None:
        """End the outgoing stream; the last frame of this request."""
        payload = b"" if record is None else frames.encode_json(record)
        self._write(frames.encode(frames.END, self.request, payload))

    def receive(self) -> bytes:
        """Return the next piece of the incoming stream, b"" at its end."""
        with self._changed:
            while not self._aborted and not self._incoming and not self._incoming_ended:
                self._changed.wait()
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
            self._write(frames.encode(frames.GRANT, self.request, frames.CREDIT.pack(grant)))
        return data

    def pause(self, seconds: float) -> None:
        """Sleep; raises when the request is given up."""
        with self._changed:
            if self._aborted or self._changed.wait_for(lambda: self._aborted, seconds):
                raise aborted()
