"""Pauses between attempts: growing, with jitter, and short again after a success."""

import random


class Pauses:
    """Seconds to wait before the next attempt, from `first` doubling up to `longest`, each shortened at random."""

    def __init__(self, *, first_seconds: float = 0.25, longest_seconds: float = 15.0) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._seconds = first_seconds

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        seconds = self._seconds
        self._seconds = min(seconds * 2, self._longest_seconds)
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the attempts, keeps no secret

    def reset(self) -> None:
        """Start again with the shortest one."""
        self._seconds = self._first_seconds
