"""Reading PNG files of eight-bit RGB pixels, so that tests need no library for it."""

import struct
import zlib
from pathlib import Path

Pixel = tuple[int, int, int]


def read_png(path: Path) -> list[list[Pixel]]:
    """Rows of pixels."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, packed, width, height = 8, b"", 0, 0
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", body)
            assert form == [8, 2, 0, 0, 0]
        packed += body if kind == b"IDAT" else b""
        place += length + 12
    lines = _unfiltered(zlib.decompress(packed), width * 3)
    assert len(lines) == height
    return [list(zip(line[::3], line[1::3], line[2::3], strict=True)) for line in lines]


def _unfiltered(data: bytes, length: int) -> list[bytearray]:
    above = bytearray(length)
    lines = []
    for start in range(0, len(data), length + 1):
        line = bytearray(data[start + 1 : start + 1 + length])
        for place, value in enumerate(line):
            left, upper_left = (line[place - 3], above[place - 3]) if place > 2 else (0, 0)
            guesses = (0, left, above[place], (left + above[place]) // 2, _paeth(left, above[place], upper_left))
            line[place] = (value + guesses[data[start]]) % 256
        lines.append(line)
        above = line
    return lines


def _paeth(left: int, up: int, upper_left: int) -> int:
    guess = left + up - upper_left
    return min((left, up, upper_left), key=lambda one: abs(guess - one))
