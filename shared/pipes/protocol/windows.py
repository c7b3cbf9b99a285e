"""How much of a stream may be on its way at once.

A small window leaves a fast line idle for most of each round trip; a large one fills the buffers of a slow line, and
whoever asks something else waits behind it. So a window begins small and follows what arrives: twice as much as one
round trip brings, as TCP's receivers do.
"""

LARGEST_BYTES = 4 * 1024**2


class StreamWindow:
    """Of one stream; `size` is in bytes. `round_trip_seconds` is the shortest that was seen on this pipe."""

    def __init__(self, size: int, round_trip_seconds: float) -> None:
        self.size = size
        self._round_trip_seconds = max(round_trip_seconds, 0.001)
        self._owed = 0
        self._round_bytes = 0
        self._round_began: float | None = None

    def take(self, count: int, now: float) -> int:
        """So much was consumed, at this monotonic time; returns the credit to be granted at once (0: none yet)."""
        self._owed += count
        if self._round_began is None:
            self._round_began = now
        else:
            self._round_bytes += count
        seconds = now - self._round_began
        if seconds >= self._round_trip_seconds:
            in_a_round_trip = int(self._round_bytes * self._round_trip_seconds / seconds)
            self._grow(min(2 * in_a_round_trip, LARGEST_BYTES))
            self._round_bytes, self._round_began = 0, now
        if self._owed < self.size // 4:
            return 0
        owed, self._owed = self._owed, 0
        return owed

    def _grow(self, wanted: int) -> None:
        if wanted > self.size:
            self._owed += wanted - self.size
            self.size = wanted
