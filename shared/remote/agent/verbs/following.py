"""`follow`: says when files of batches have grown, an end record is there, or a launch has died. Cheap when idle."""

from __future__ import annotations

import json
import os
import time

from shared.remote.agent.arguments import count, text
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.places import Place, Roots
from shared.remote.agent.verbs.evidence import is_alive, length
from shared.remote.common.layout import END, EVENTS, RESULTS

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 0.4
SLOWER_FACTOR = 1.5
COST_FACTOR = 150
"""However many targets there are: looking takes at most one part in so many of the time."""
HEARTBEAT_SECONDS = 10.0

_NAMES = ("exists", "events_length", "results_length", "ended", "alive")


class _Target:
    """One batch folder, and what was last said about it: (exists, events, results, ended, alive)."""

    def __init__(self, place: Place, native_id: str, events_length: int, results_length: int) -> None:
        self._place = place
        self._native_id = native_id
        self.said: tuple[bool, int, int, bool, bool | None] = (True, events_length, results_length, False, True)

    def look(self) -> tuple[bool, int, int, bool, bool | None]:
        try:
            folder = self._place.open()
        except OSError:
            return (False, 0, 0, False, None)
        try:
            alive = is_alive(folder, self._native_id) if self._native_id else None
            ended = length(folder, END) is not None
            return (True, length(folder, EVENTS) or 0, length(folder, RESULTS) or 0, ended, alive)
        finally:
            os.close(folder)


def follow(roots: Roots, targets: list[dict[str, object]], exchange: Exchange) -> None:
    """Run the verb; ends when the request is given up."""
    watched = [
        _Target(
            roots.place(one),
            text(one, "native_id", ""),
            count(one, "events_length", 0),
            count(one, "results_length", 0),
        )
        for one in targets
    ]
    exchange.answer({})
    interval, spoken = SHORTEST_SECONDS, time.monotonic()
    while True:
        began = time.monotonic()
        said = _say_changes(watched, exchange)
        now = time.monotonic()
        if said:
            interval, spoken = SHORTEST_SECONDS, now
        else:
            interval = min(LONGEST_SECONDS, interval * SLOWER_FACTOR)
        if now - spoken >= HEARTBEAT_SECONDS:
            exchange.send(b"\n")
            spoken = now
        exchange.pause(max(interval, (now - began) * COST_FACTOR if not said else 0.0))


def _say_changes(watched: list[_Target], exchange: Exchange) -> bool:
    lines = []
    for index, target in enumerate(watched):
        seen = target.look()
        if seen != target.said:
            target.said = seen
            lines.append(json.dumps({"target": index, **dict(zip(_NAMES, seen))}) + "\n")
    if lines:
        exchange.send("".join(lines).encode())
    return bool(lines)
