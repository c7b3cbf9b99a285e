"""Times: epoch seconds in the rows, UTC for callers."""

from datetime import UTC, datetime


def moment(seconds: float | None) -> datetime | None:
    """Epoch seconds as UTC; None for what is no date (an earlier version stored what runners' files claimed)."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
