"""Optimistic concurrency, in the transaction that changes the row."""

from stoker.errors import Conflict


def check_version(version: int, expected: frozenset[str] | None) -> None:
    """Raise Conflict (`precondition-failed`) unless the caller's change is based on this version."""
    if expected is not None and str(version) not in expected:
        raise Conflict(f"it was changed meanwhile: it is at version {version}", slug="precondition-failed")
