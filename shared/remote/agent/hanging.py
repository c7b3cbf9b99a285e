"""Which places do not answer: a thread that was to do something with their files has not come back from the kernel.

Such a thread cannot be ended. Nobody else is sent after it, so that each of these places costs one thread and no
more.
"""

from __future__ import annotations

import threading

from shared.remote.agent.errors import RequestError
from shared.remote.agent.places import Place

PATIENCE_SECONDS = 20.0
"""So long one file operation may take. Whoever asked learns of it before they would take the pipe for broken."""
_PARTS_OF_A_JOB = 2


class Hanging:
    """The places, by whoever waits there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[object, Place] = {}

    def add(self, waiting: object, place: Place) -> None:
        """Note that somebody waits at a place."""
        with self._lock:
            self._places[waiting] = place

    def discard(self, waiting: object) -> None:
        """They came back."""
        with self._lock:
            self._places.pop(waiting, None)

    def holds(self, place: Place) -> bool:
        """Whether somebody waits at a place, at one in it, or at one that it is in."""
        with self._lock:
            return any(_meet(place, other) for other in self._places.values())

    def refuse(self, place: Place) -> None:
        """Raise the error that a request about a place is answered with, if somebody waits there."""
        if self.holds(place):
            raise does_not_answer(place)


def does_not_answer(place: Place | None) -> RequestError:
    """What is said of a place, or of the files that a program is made of."""
    shown = "the file system" if place is None else place.shown
    text = f"{shown} does not answer: a file operation there has taken more than {PATIENCE_SECONDS:g} seconds"
    return RequestError("unavailable", text)


def _meet(one: Place, other: Place) -> bool:
    if one.root != other.root:
        return False
    shorter = min(len(one.parts), len(other.parts))
    if shorter < _PARTS_OF_A_JOB:  # one that holds the folders of all jobs
        return one.parts == other.parts
    return one.parts[:shorter] == other.parts[:shorter]
