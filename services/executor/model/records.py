"""What a runner wrote, as the executor reads it: lines of events.jsonl and results.jsonl.

The files come from the other side of a pipe and may have been touched by anybody there, so every line is checked, and
one that is not what it should be is left out and counted, never an exception.
"""

from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

import msgspec


class ReasonRecord(msgspec.Struct, frozen=True):
    """Why an attempt ended as it did, as the runner puts it."""

    code: str
    text: str
    log_tail: str = ""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of events.jsonl."""

    event: str
    at: float | None = None
    native_id: str | None = None
    host: str | None = None
    unit: int | None = None
    attempt: int | None = None
    slot: int | None = None
    log_start: int | None = None
    how: str | None = None


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of results.jsonl: the outcome of one attempt."""

    unit: int
    attempt: int
    outcome: Literal["succeeded", "failed", "interrupted"]
    start: float | None = None
    end: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: ReasonRecord | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    slot: int | None = None
    log: tuple[int, int] | None = None
    output: msgspec.Raw = msgspec.Raw()


R = TypeVar("R", EventRecord, ResultRecord)


class Records(Generic[R]):
    """The whole lines of one stretch of a file, and how many bytes they take."""

    def __init__(self, data: bytes, kind: type[R]) -> None:
        self._data = data
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(kind)
        self.length = data.rfind(b"\n") + 1
        self.unreadable = 0

    def __iter__(self) -> Iterator[R]:
        for line in self._data[: self.length].splitlines():
            try:
                yield self._decoder.decode(line)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                self.unreadable += 1
