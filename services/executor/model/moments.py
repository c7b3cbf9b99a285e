"""Times: epoch seconds in the rows, UTC for callers."""

from datetime import UTC, datetime


def moment(seconds: float | None) -> datetime | None:
    """Epoch seconds as UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
