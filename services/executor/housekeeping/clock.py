"""Whether this machine's clock can be believed where something is removed by it."""

import time

_JUMP_SECONDS = 300.0
_DOUBTED_SECONDS = 3600.0


class DoubtfulClock:
    """Compares the clock with one that only goes forward: after a jump it is doubted for an hour.

    A clock that was set a month ahead for a moment removes nothing that way, and one that was put right is believed
    again by itself.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._doubted_until = float("-inf")

    def doubt(self) -> None:
        """Do not believe it for a while."""
        self._doubted_until = time.monotonic() + _DOUBTED_SECONDS

    @property
    def is_doubted(self) -> bool:
        """Whether it is not to be believed now."""
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > _JUMP_SECONDS:
            self._offset = offset
            self.doubt()
        return time.monotonic() < self._doubted_until
