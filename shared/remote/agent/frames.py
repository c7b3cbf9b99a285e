"""Frames: length of the payload, kind, request id, payload. JSON where people look, raw bytes where data flows."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator

HEAD = struct.Struct("!IBI")
CREDIT = struct.Struct("!I")

REQUEST, ANSWER, ERROR, DATA, GRANT, END, ABORT = b"QAEDCFX"

CHUNK_BYTES = 64 * 1024
LARGEST_JSON_BYTES = 1024 * 1024
FIRST_CREDIT_BYTES = 256 * 1024

_LARGEST = {
    REQUEST: LARGEST_JSON_BYTES,
    ANSWER: LARGEST_JSON_BYTES,
    ERROR: LARGEST_JSON_BYTES,
    END: LARGEST_JSON_BYTES,
    DATA: CHUNK_BYTES,
    GRANT: CREDIT.size,
    ABORT: 0,
}


class ProtocolError(Exception):
    """What came is not the protocol: nothing that follows can be trusted."""


def encode(kind: int, request: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return HEAD.pack(len(payload), kind, request) + payload


def encode_json(record: object) -> bytes:
    """Return the payload of a JSON frame."""
    return json.dumps(record, separators=(",", ":")).encode("utf-8", "surrogateescape")


def check(length: int, kind: int) -> None:
    """Refuse a frame by its head, before any of its payload is stored."""
    if length > _LARGEST.get(kind, -1):
        raise ProtocolError(f"a frame of kind {kind} with {length} bytes")


def read_frames(descriptor: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (kind, request id, payload) until the end of the file."""
    buffer = bytearray()

    def fill(count: int) -> bool:
        while len(buffer) < count:
            data = os.read(descriptor, CHUNK_BYTES)
            if not data:
                return False
            buffer.extend(data)
        return True

    while fill(HEAD.size):
        length, kind, request = HEAD.unpack_from(buffer)
        check(length, kind)
        if not fill(HEAD.size + length):
            return
        payload = bytes(memoryview(buffer)[HEAD.size : HEAD.size + length])
        del buffer[: HEAD.size + length]
        yield kind, request, payload
