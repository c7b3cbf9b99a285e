"""Reading the fields of a request, each with a message that names it."""

from __future__ import annotations

from shared.remote.agent.errors import invalid

MOST_NAMES = 10_000


def text(record: dict[str, object], field: str, default: str | None = None) -> str:
    """Return a string field."""
    value = record.get(field, default)
    if not isinstance(value, str):
        raise invalid(f"{field} has to be a string", field)
    return value


def count(record: dict[str, object], field: str, default: int | None = None) -> int:
    """Return a field that is an integer of at least 0."""
    value = record.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise invalid(f"{field} has to be an integer of at least 0", field)
    return value


def strings(record: dict[str, object], field: str) -> list[str]:
    """Return a list of strings (empty when absent)."""
    value = record.get(field, [])
    if not isinstance(value, list) or len(value) > MOST_NAMES or not all(isinstance(one, str) for one in value):
        raise invalid(f"{field} has to be a list of at most {MOST_NAMES} strings", field)
    return value


def texts(record: dict[str, object], field: str) -> dict[str, str]:
    """Return an object whose values are strings (empty when absent)."""
    value = record.get(field, {})
    if not isinstance(value, dict) or len(value) > MOST_NAMES:
        raise invalid(f"{field} has to be an object with at most {MOST_NAMES} entries", field)
    if not all(isinstance(one, str) for one in value.values()):
        raise invalid(f"{field} has to hold strings", field)
    return value


def records(record: dict[str, object], field: str) -> list[dict[str, object]]:
    """Return a list of objects."""
    value = record.get(field)
    if not isinstance(value, list) or len(value) > MOST_NAMES or not all(isinstance(one, dict) for one in value):
        raise invalid(f"{field} has to be a list of at most {MOST_NAMES} objects", field)
    return value
