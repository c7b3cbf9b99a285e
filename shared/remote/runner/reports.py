"""What the runner writes down: events.jsonl while it works, results.jsonl per attempt, end.json when all is safe."""

from __future__ import annotations

import json
import os
import time

from shared.remote.common.durable import replace
from shared.remote.common.layout import END, EVENTS, RESULTS
from shared.remote.runner import reserve
from shared.remote.runner.records import JsonLines
from shared.remote.runner.units.slots import Running

MOST_LAST_WORDS = 100
"""Of so many failed units the end of the log is told with the reason: a million may fail."""


class Reports:
    """The three files of one batch."""

    def __init__(self, folder: str, descriptor: int, native_id: str, restart: int = 0) -> None:
        self._folder = descriptor
        self._native_id = native_id
        self._last_words_left = MOST_LAST_WORDS
        self._restart = restart
        self._events = JsonLines(folder, EVENTS)
        self._results = JsonLines(folder, RESULTS)

    def claimed(self, host: str) -> None:
        """First words of the runner that won."""
        self._event(
            event="claimed",
            at=time.time(),
            native_id=self._native_id,
            host=host,
            pid=os.getpid(),
            restart=self._restart,
        )

    def started(self, running: Running) -> None:
        """Written before the command is started, so that nothing ever runs unannounced."""
        self._events.append(
            b'{"event":"start","unit":%d,"attempt":%d,"at":%.6f,"slot":%d,"log_start":%d}'
            % (
                running.attempt.unit,
                running.attempt.attempt,
                running.started_at,
                running.slot.number,
                running.log_start,
            )
        )

    def result(
        self,
        running: Running,
        outcome: str,
        *,
        exit_code: int | None = None,
        signal: int | None = None,
        reason: dict[str, str] | None = None,
        output: bytes | None = None,
    ) -> None:
        """Record how an attempt ended; NotRecorded when that is impossible."""
        usage = running.usage
        if outcome == "failed" and reason is not None and self._last_words_left:
            words = running.slot.last_words(running.log_start)
            reason = {**reason, "log_tail": words} if words else reason
            self._last_words_left -= 1
        head = json.dumps(
            {
                "unit": running.attempt.unit,
                "attempt": running.attempt.attempt,
                "outcome": outcome,
                "exit_code": exit_code,
                "signal": signal,
                "reason": reason,
                "start": round(running.started_at, 6),
                "end": round(running.ended_at or time.time(), 6),
                "peak_memory_bytes": usage.ru_maxrss * 1024 if usage else None,
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 6) if usage else None,
                "slot": running.slot.number,
                "log": [running.log_start, max(running.log_start, running.slot.log_length())],
            },
            separators=(",", ":"),
        ).encode()
        self._results.append(head if output is None else head[:-1] + b',"output":' + output + b"}")

    def use_reserve(self) -> None:
        """Free the space that was held back: the disk is full and something has to be said."""
        reserve.release(self._folder, self._native_id)

    def end(self, how: str, reason: str) -> None:
        """Last words: after them everything is on disk. NotRecorded or OSError when they could not be written."""
        self.use_reserve()
        at = time.time()
        self._event(event="end", how=how, at=at)
        self._results.sync()
        self._events.sync()
        record = {
            "how": how,
            "at": at,
            "native_id": self._native_id,
            "restart": self._restart,
            "results": self._results.count,
            "reason": reason,
        }
        replace(self._folder, END, json.dumps(record).encode())

    def _event(self, **record: object) -> None:
        self._events.append(json.dumps(record, separators=(",", ":")).encode())
