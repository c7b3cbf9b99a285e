"""Pauses between attempts: growing, with jitter so that those who wait do not come back all at once."""

import random

_MOST_DOUBLINGS = 30


def pause_seconds(failures: int, *, first_seconds: float, longest_seconds: float) -> float:
    """Seconds to wait after so many failures in a row (1, 2, …): doubling, and shortened at random by up to half."""
    grown = first_seconds * 2.0 ** min(max(failures - 1, 0), _MOST_DOUBLINGS)
    return min(grown, longest_seconds) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads, keeps no secret


class Pauses:
    """The pauses of one who tries again and again; short again after a success."""

    def __init__(self, *, first_seconds: float = 0.25, longest_seconds: float = 15.0) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        self._failures += 1
        return pause_seconds(self._failures, first_seconds=self._first_seconds, longest_seconds=self._longest_seconds)

    def reset(self) -> None:
        """Start again with the shortest one."""
        self._failures = 0
