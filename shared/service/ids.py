"""Ids: ULIDs in lower case, which sort by the time they were made."""

from ulid import ULID


def new_id() -> str:
    """Return a new id of 26 characters."""
    return str(ULID()).lower()
