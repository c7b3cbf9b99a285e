"""The JSON result that a unit may leave in its out file."""

from __future__ import annotations

import json
import os
import re
import stat

from shared.remote.runner.units.reasons import reason

DEEPEST_NESTING = 100

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = re.compile(r"[^\[\]{}]+")
_INNERMOST = re.compile(r"\[\]|\{\}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _too_deep(text: str) -> bool:
    """Peel the innermost brackets off, a level at a time."""
    skeleton = _NO_BRACKETS.sub("", _STRING.sub("", text))
    for _ in range(DEEPEST_NESTING):
        if not skeleton:
            return False
        skeleton = _INNERMOST.sub("", skeleton)
    return bool(skeleton)


def compact(data: bytes) -> bytes:
    """Return the JSON document on one line; ValueError when it is none (or one that others could not read)."""
    text = data.decode("utf-8-sig")
    if text.count("[") + text.count("{") > DEEPEST_NESTING and _too_deep(text):
        raise ValueError(f"nested more than {DEEPEST_NESTING} levels deep")
    value = json.loads(text, parse_constant=_no_constant)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def collect(path: str, limit_bytes: int) -> tuple[bytes | None, dict[str, str] | None]:
    """Return (the output on one line, None), (None, why it cannot be taken), or (None, None): there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, reason("invalid_output", f"the out file cannot be read: {error.strerror}")
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return None, reason("invalid_output", "the out file is not a regular file")
        if found.st_size > limit_bytes:
            text = f"the out file has {found.st_size:,} bytes, the limit is {limit_bytes:,}"
            return None, reason("output_too_large", text)
        data = file.read(limit_bytes + 1)
    if not data.strip():
        return None, reason("invalid_output", "the out file is not valid JSON: it is empty")
    try:
        output = compact(data)
    except (ValueError, RecursionError) as error:
        return None, reason("invalid_output", f"the out file is not valid JSON: {error}")
    if len(output) > limit_bytes:  # numbers such as 1e15 are longer when they are written out
        text = f"the out file would have {len(output):,} bytes on one line, the limit is {limit_bytes:,}"
        return None, reason("output_too_large", text)
    return output, None
