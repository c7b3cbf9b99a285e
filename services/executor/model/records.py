"""What a runner wrote, as the executor reads it: lines of events.jsonl and results.jsonl.

The files come from the other side of a pipe and may have been written by anybody there. Every field is bounded by
its type: what was decoded fits the columns and can be shown. A line that is not what it should be is left out and
counted, never an exception; what an honest runner would have cut is cut.
"""

from collections.abc import Iterator
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

LONGEST_EVENT_BYTES = 4096
_BESIDES_OUTPUT_BYTES = 64 * 1024
"""All of a result's line but the output: numbers, and a reason with the last lines of a log."""

_MOST_ATTEMPTS = 1_000_000
_LATEST = 253402300799.0
"""The last second of the year 9999, which ends what a date can say."""
_LONGEST_CODE = 100
_LONGEST_TEXT = 4000
_LONGEST_TAIL = 2000
_DEEPEST_NESTING = 100
_MOST_BRACKETS = 2_000_000
_MOST_COMMAS = 4_000_000

UnitIndex = Annotated[int, Meta(ge=0, le=2**31 - 1)]
AttemptNumber = Annotated[int, Meta(ge=1, le=_MOST_ATTEMPTS)]
Number = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Slot = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Moment = Annotated[float, Meta(ge=0, le=_LATEST)]
Seconds = Annotated[float, Meta(ge=0, le=1e15)]
Word = Annotated[str, Meta(max_length=255, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]


class ReasonRecord(msgspec.Struct, frozen=True):
    """Why an attempt ended as it did, as the runner puts it."""

    code: str
    text: str
    log_tail: str = ""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of events.jsonl."""

    event: str
    at: Moment | None = None
    native_id: Word | None = None
    host: Word | None = None
    unit: UnitIndex | None = None
    attempt: AttemptNumber | None = None
    slot: Slot | None = None
    log_start: Bytes | None = None
    how: str | None = None


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of results.jsonl: the outcome of one attempt."""

    unit: UnitIndex
    attempt: AttemptNumber
    outcome: Literal["succeeded", "failed", "interrupted"]
    start: Moment | None = None
    end: Moment | None = None
    exit_code: Number | None = None
    signal: Number | None = None
    reason: ReasonRecord | None = None
    peak_memory_bytes: Bytes | None = None
    cpu_seconds: Seconds | None = None
    slot: Slot | None = None
    log: tuple[Bytes, Bytes] | None = None
    output: msgspec.Raw = msgspec.Raw()


R = TypeVar("R", EventRecord, ResultRecord)


def longest_result_bytes(output_limit_bytes: int) -> int:
    """Length of the longest line that a runner writes into results.jsonl, with its end."""
    return output_limit_bytes + _BESIDES_OUTPUT_BYTES


class Records(Generic[R]):
    """The whole lines of one stretch of a file: `length` bytes of it.

    Lines of more than `longest_bytes` are not looked at. `unreadable` counts those that were left out, once all have
    been asked for; after `most_unreadable` of them nothing more is read.
    """

    def __init__(self, data: bytes, kind: type[R], longest_bytes: int, most_unreadable: int = 1000) -> None:
        self._data = data
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(kind)
        self._longest_bytes = longest_bytes
        self._most_unreadable = most_unreadable
        self.length = data.rfind(b"\n") + 1
        self.unreadable = 0

    def __iter__(self) -> Iterator[R]:
        start = self.unreadable = 0
        while start < self.length:
            end = self._data.index(b"\n", start)
            if end - start >= self._longest_bytes:
                self.unreadable += 1
            else:
                try:
                    yield self._decoder.decode(self._data[start:end])
                except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                    self.unreadable += 1
            start = end + 1
            if self.unreadable > self._most_unreadable:
                return


def as_honest(result: ResultRecord, output_limit_bytes: int) -> ResultRecord:
    """The result as a runner would have written it that keeps the limits: texts are cut, an output that cannot be
    taken is a failure.
    """  # noqa: D205 - one thought
    reason = result.reason
    if reason is not None:
        reason = _cut(reason)
    output = bytes(result.output)
    fault = _fault(output, output_limit_bytes) if output else None
    if fault is not None:
        outcome: Literal["failed", "interrupted"] = "failed" if result.outcome == "succeeded" else result.outcome
        reason = fault if result.outcome == "succeeded" or reason is None else reason
        return msgspec.structs.replace(result, outcome=outcome, reason=reason, output=msgspec.Raw())
    return result if reason is result.reason else msgspec.structs.replace(result, reason=reason)


def _cut(reason: ReasonRecord) -> ReasonRecord:
    return ReasonRecord(reason.code[:_LONGEST_CODE], reason.text[:_LONGEST_TEXT], reason.log_tail[-_LONGEST_TAIL:])


def _fault(output: bytes, limit_bytes: int) -> ReasonRecord | None:
    """Why an output cannot be taken, if it cannot: it is stored, and shown to whoever asks, as it is."""
    if len(output) > limit_bytes:
        text = f"the out file has {len(output):,} bytes, the limit is {limit_bytes:,}"
        return ReasonRecord("output_too_large", text)
    brackets = output.count(b"[") + output.count(b"{")
    if brackets > _MOST_BRACKETS or output.count(b",") > _MOST_COMMAS:
        return ReasonRecord("output_too_large", "the out file holds too many values")
    try:
        value = msgspec.json.decode(output)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return ReasonRecord("invalid_output", f"the out file is not valid JSON: {error}")
    if brackets > _DEEPEST_NESTING and _is_deep(value):
        text = f"the out file is not valid JSON: nested more than {_DEEPEST_NESTING} levels deep"
        return ReasonRecord("invalid_output", text)
    return None


def _is_deep(value: object) -> bool:
    """Whether a decoded value is nested too deeply; looked at level by level."""
    level = [value]
    for _ in range(_DEEPEST_NESTING):
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                below += (inner for inner in one.values() if isinstance(inner, (dict, list)))
            elif isinstance(one, list):
                below += (inner for inner in one if isinstance(inner, (dict, list)))
        if not below:
            return False
        level = below
    return True
