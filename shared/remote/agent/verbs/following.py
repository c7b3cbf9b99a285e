"""`follow`: says when files of batches have grown, an end record is there, or a launch has died. Cheap when idle."""

from __future__ import annotations

import json
import os
import threading
import time

from shared.remote.agent.arguments import count, text
from shared.remote.agent.exchange import Exchange
from shared.remote.agent.hanging import Hanging
from shared.remote.agent.places import Place, Roots
from shared.remote.agent.verbs.evidence import is_alive, length
from shared.remote.common.layout import END, EVENTS, RESULTS

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 0.4
SLOWER_FACTOR = 1.5
COST_FACTOR = 150
"""However many targets there are: looking takes at most one part in so many of the time."""
HEARTBEAT_SECONDS = 10.0
PATIENCE_SECONDS = 5.0
"""A target that keeps its watcher waiting for longer than this is left to itself: the others are followed on."""

_NAMES = ("exists", "events_length", "results_length", "ended", "alive")
_Seen = tuple[bool, int, int, bool, "bool | None"]
_NOTHING: _Seen = (False, 0, 0, False, None)
"""Whoever is told that it is not there looks at what there is."""


class _Target:
    """One batch folder, and what was last said about it: (exists, events, results, ended, alive)."""

    def __init__(self, place: Place, native_id: str, events_length: int, results_length: int) -> None:
        self.place = place
        self._native_id = native_id
        self.said: _Seen = (True, events_length, results_length, False, True)

    def look(self) -> _Seen:
        folder = None
        try:
            folder = self.place.open()
            alive = is_alive(folder, self._native_id) if self._native_id else None
            ended = length(folder, END) is not None
            return (True, length(folder, EVENTS) or 0, length(folder, RESULTS) or 0, ended, alive)
        except OSError:
            return _NOTHING
        finally:
            if folder is not None:
                os.close(folder)


class _Round(threading.Thread):
    """One look at each target, in their order. A thread of its own: it may not come back from the kernel."""

    def __init__(self, targets: list[_Target], first: int, hanging: Hanging) -> None:
        super().__init__(daemon=True)
        self._targets = targets
        self._hanging = hanging
        self.seen: list[_Seen] = []
        self._first = first
        self.given_up = False

    @property
    def at(self) -> int:
        """The target that is looked at."""
        return self._first + len(self.seen)

    def run(self) -> None:
        for target in self._targets[self._first :]:
            self.seen.append(_NOTHING if self._hanging.holds(target.place) else target.look())
            if self.given_up:
                self._hanging.discard(self)
                return


def follow(roots: Roots, targets: list[dict[str, object]], exchange: Exchange, hanging: Hanging) -> None:
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
    exchange.begin({})
    interval, spoken = SHORTEST_SECONDS, time.monotonic()
    while True:
        began = time.monotonic()
        said = _say_changes(watched, _look(watched, exchange, hanging), exchange)
        now = time.monotonic()
        if said:
            interval, spoken = SHORTEST_SECONDS, now
        else:
            interval = min(LONGEST_SECONDS, interval * SLOWER_FACTOR)
        if now - spoken >= HEARTBEAT_SECONDS:
            exchange.send(b"\n")
            spoken = now
        exchange.pause(max(interval, (now - began) * COST_FACTOR if not said else 0.0))


def _look(watched: list[_Target], exchange: Exchange, hanging: Hanging) -> list[_Seen]:
    """What is to be seen of each target; nothing of those that keep whoever looks waiting."""
    seen: list[_Seen] = []
    while len(seen) < len(watched):
        looking = _Round(watched, len(seen), hanging)
        looking.start()
        before = -1
        while looking.is_alive():
            looking.join(PATIENCE_SECONDS)
            exchange.pause(0)
            if looking.is_alive() and looking.at == before:
                break
            before = looking.at
        if looking.is_alive():
            hanging.add(looking, watched[before].place)
            looking.given_up = True
            if not looking.is_alive():
                hanging.discard(looking)
            seen += looking.seen[: before - len(seen)]
            seen.append(_NOTHING)
        else:
            seen += looking.seen
    return seen


def _say_changes(watched: list[_Target], found: list[_Seen], exchange: Exchange) -> bool:
    lines = []
    for index, (target, seen) in enumerate(zip(watched, found)):
        if seen != target.said:
            target.said = seen
            lines.append(json.dumps({"target": index, **dict(zip(_NAMES, seen))}) + "\n")
    if lines:
        exchange.send("".join(lines).encode())
    return bool(lines)
