"""Words of the runner itself, for runner.log (its standard error). A full disk must not keep it from working on."""

from __future__ import annotations

import contextlib
import os


def note(text: str) -> None:
    """Write a line if that is possible."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "replace") + b"\n")
