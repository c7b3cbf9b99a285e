"""Configurations as people hand them over: JSON in files, on standard input, or in their editor."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from stoker.errors import Invalid


def read_bytes(source: str) -> bytes:
    """Read a file, or standard input for `-`. Raises Invalid."""
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise Invalid(f"{source} cannot be read: {error.strerror}") from error


def read_object(source: str) -> dict[str, Any]:
    """Read one JSON object. Raises Invalid, with what is wrong and where."""
    return _object(read_bytes(source), "standard input" if source == "-" else source)


def edited(value: object) -> dict[str, Any] | None:
    """Let the user edit a value as JSON in $VISUAL or $EDITOR; None when nothing was changed."""
    before = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        file = Path(folder) / "edit.json"
        file.write_bytes(before)
        editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        try:
            ended = subprocess.run([*editor, str(file)], check=False)  # the user's own choice of program
        except OSError as error:
            raise Invalid(f"the editor {editor[0]!r} cannot be started: set EDITOR") from error
        if ended.returncode:
            raise Invalid(f"the editor ended with {ended.returncode}: nothing was changed")
        after = file.read_bytes()
    return None if after == before else _object(after, "the edited text")


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{name} is not a JSON object: {error}") from error
