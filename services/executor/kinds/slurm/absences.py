"""How long batches have been absent, by looks of this process: a machine that slept has not looked meanwhile."""

import time


class Absences:
    """Absences by batch. A clock that jumps, or that went on while nobody looked, makes none longer."""

    def __init__(self) -> None:
        self._first_seen: dict[str, float] = {}

    def since(self, batch_id: str, stored: float | None, now: float) -> float | None:
        """Since when (epoch seconds) a batch counts as absent; `stored`: since when its row says so."""
        if stored is None:
            self.forget(batch_id)
            return None
        # Does not go on while the machine sleeps.
        watched_seconds = time.monotonic() - self._first_seen.setdefault(batch_id, time.monotonic())
        return max(stored, now - watched_seconds)

    def forget(self, batch_id: str) -> None:
        """It is there again, or over."""
        self._first_seen.pop(batch_id, None)
