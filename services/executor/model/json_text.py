"""Values as the JSON texts that columns hold."""

from typing import Any

import msgspec

from stoker.contracts.jobs import Reason

_REASON = msgspec.json.Decoder(Reason)


def encode(value: Any) -> str:
    """JSON text for a column."""
    return msgspec.json.encode(value).decode()


def decode_reason(text: str | None) -> Reason | None:
    """The reason that a column holds."""
    return None if text is None else _REASON.decode(text)
