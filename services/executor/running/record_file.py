"""Reading what a runner appends to a file of its batch, in stretches.

Whoever runs units owns that file, and may let it claim any length: it gets no more memory and time than an honest
one.
A line has a longest length, and the file has as many lines as a runner may write at most; what is beyond either is
left out and counted.
"""

import asyncio
from typing import Generic

import msgspec

from services.executor.model.records import R, Records
from shared.pipes import AgentConnection, Place, Refused
from stoker.errors import NotFound

STRETCH_BYTES = 1024 * 1024
MOST_LEFT_OUT = 1000
"""Records of one batch that are left out before nothing more of it is read: a runner writes none of them."""
_IN_A_THREAD_BYTES = 64 * 1024


class Bounds(msgspec.Struct, frozen=True):
    """How long a line may be, with its end, and how much of the file is read at most."""

    line_bytes: int
    file_bytes: int


class Stretch(msgspec.Struct, Generic[R], frozen=True):
    """What follows in a file: its records, how many were left out, and from where to read on.

    `long`: nothing was taken, because the next line is longer than a stretch.
    """

    records: list[R]
    left_out: int
    end: int
    long: bool = False


class RecordFile(Generic[R]):
    """One such file."""

    def __init__(self, agent: AgentConnection, place: Place, kind: type[R], bounds: Bounds) -> None:
        self._agent = agent
        self._place = place
        self._kind: type[R] = kind
        self._bounds = bounds

    async def read(self, offset: int, length: int | None, *, left_out: int, long: bool = False) -> Stretch[R]:
        """Read what follows behind `offset` of the `length` that the file was found to have.

        Nothing follows where the last line is not whole yet. `left_out`: how many records of this batch were left out
        before; too many, and nothing is read any more. `long`: whether memory for a long line may be taken.
        """
        if length is None or length <= offset:
            return Stretch([], 0, offset)
        end = min(length, self._bounds.file_bytes)
        if left_out > MOST_LEFT_OUT:
            return Stretch([], 0, length)
        if end <= offset:
            return Stretch([], 1, length)
        try:
            return await self._next(offset, end, MOST_LEFT_OUT - left_out, long=long)
        except (Refused, NotFound):
            # It is another one than was found: the next look will tell.
            return Stretch([], 0, offset)

    async def _next(self, offset: int, end: int, most_left_out: int, *, long: bool) -> Stretch[R]:
        size = min(max(self._bounds.line_bytes, STRETCH_BYTES) if long else STRETCH_BYTES, end - offset)
        data = (await self._agent.read_slice(self._place, offset, size)).data
        found = Records(data, self._kind, self._bounds.line_bytes, most_left_out)
        if found.length:
            many = found.length > _IN_A_THREAD_BYTES
            records = await asyncio.to_thread(list, found) if many else list(found)
            return Stretch(records, found.unreadable, offset + found.length)
        if len(data) < size:
            return Stretch([], 0, offset)
        if size >= self._bounds.line_bytes or end == self._bounds.file_bytes == offset + size:
            # Too long for a line; its rest will be left out as another one.
            return Stretch([], 1, offset + size)
        return Stretch([], 0, offset, long=size < end - offset)
