"""Frames on the service's side: length of the payload, kind, request id, payload. All limits are the agent's too."""

import struct

from shared.pipes.errors import PipeLost

HEAD = struct.Struct("!IBI")
CREDIT = struct.Struct("!I")

REQUEST, ANSWER, ERROR, DATA, GRANT, END, ABORT = b"QAEDCFX"

CHUNK_BYTES = 64 * 1024
LARGEST_JSON_BYTES = 1024 * 1024
FIRST_CREDIT_BYTES = 256 * 1024
LONGEST_BANNER_BYTES = 1024 * 1024
GREETING = b"STOKER-AGENT 1 "

_LARGEST = {
    ANSWER: LARGEST_JSON_BYTES,
    ERROR: LARGEST_JSON_BYTES,
    END: LARGEST_JSON_BYTES,
    DATA: CHUNK_BYTES,
    GRANT: CREDIT.size,
}


def encode(kind: int, request: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return HEAD.pack(len(payload), kind, request) + payload


class FrameParser:
    """Turns bytes from a stranger into frames; PipeLost for what no agent would send. Holds at most one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Add bytes; return the frames (kind, request id, payload) that are complete now."""
        self._buffer += data
        frames = []
        at = 0
        while len(self._buffer) - at >= HEAD.size:
            length, kind, request = HEAD.unpack_from(self._buffer, at)
            if length > _LARGEST.get(kind, -1) or (kind == GRANT and length != CREDIT.size):
                raise PipeLost(
                    f"the agent sent a frame of kind {kind} with {length:,} bytes, which is not the protocol"
                )
            end = at + HEAD.size + length
            if len(self._buffer) < end:
                break
            frames.append((kind, request, bytes(memoryview(self._buffer)[at + HEAD.size : end])))
            at = end
        del self._buffer[:at]
        return frames


class GreetingFinder:
    """Skips what a login shell prints until a line that begins with one of `markers` (the agent's first line)."""

    def __init__(self, *markers: bytes) -> None:
        self._markers = tuple(b"\n" + marker for marker in markers or (GREETING,))
        self._buffer = b"\n"
        self._skipped = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Add bytes; return the line and what follows it once it is complete. PipeLost when it does not come."""
        self._buffer += data
        at = min((at for marker in self._markers if (at := self._buffer.find(marker)) >= 0), default=None)
        if at is None:
            # Only so much is kept as may be the beginning of a marker.
            kept = max(map(len, self._markers))
            self._skipped += max(0, len(self._buffer) - kept)
            self._buffer = self._buffer[-kept:]
        elif (end := self._buffer.find(b"\n", at + 1)) >= 0:
            return self._buffer[at + 1 : end], self._buffer[end + 1 :]
        if self._skipped + len(self._buffer) > LONGEST_BANNER_BYTES:
            raise PipeLost(f"no agent has spoken in the first {LONGEST_BANNER_BYTES:,} bytes")
        return None
