"""Yes and no, as people write them where a flag belongs."""

_YES = frozenset({"true", "t", "yes", "y", "on", "1"})
_NO = frozenset({"false", "f", "no", "n", "off", "0"})


def read_flag(value: object) -> bool | None:
    """Return what a JSON value means as a flag: true, "true", 1, "yes" …; None for what has no such meaning."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | str):
        return None
    text = str(value).strip().lower()
    return True if text in _YES else False if text in _NO else None
