"""Server-Sent Events: from lines to events (the WHATWG rules, as far as our services use them)."""

from typing import NamedTuple


class ServerEvent(NamedTuple):
    """One event: its id and type (empty when not given) and its data."""

    id: str
    type: str
    data: str


class EventParser:
    """Takes lines without their ends; gives an event at the empty line that ends one."""

    def __init__(self) -> None:
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def line(self, line: str) -> ServerEvent | None:
        """Take a line. Comments (keep-alives), unknown fields and events without data give nothing."""
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
        return None

    def _complete(self) -> ServerEvent | None:
        event = ServerEvent(self._id, self._type, "\n".join(self._data)) if self._data else None
        self._type, self._data = "", []
        return event
