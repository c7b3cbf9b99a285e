"""Texts that must not show up in a log, a repr or a traceback."""


class Secret:
    """A text that shows as `***` until `reveal()` is called."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise ValueError("must not be empty")
        self._text = text.strip()

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
