"""The steps of an activity, counted in its log."""

from __future__ import annotations

from shared.remote.builder.commands import say


class Steps:
    """`n of m` lines; `total` is known from the start."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    def next(self, name: str) -> None:
        """Say that the next one begins."""
        self._number += 1
        say(f"step {self._number} of {self._total}: {name}")
