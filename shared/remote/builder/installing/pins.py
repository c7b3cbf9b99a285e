"""Versions that somebody wants held, whatever the package itself asks for."""

from __future__ import annotations

from collections.abc import Sequence

from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.contents import Contents
from shared.remote.builder.packages.names import normalised


def check_pins(pins: Sequence[str]) -> None:
    """Failure where `name==version` requirements name one package twice, with two versions."""
    seen: dict[str, str] = {}
    for pin in pins:
        name, _, version = pin.partition("==")
        before = seen.setdefault(normalised(name), version)
        if before != version:
            raise Failure("pins_contradict", f"{name} is pinned to {before} and to {version}")


def check_held(pins: Sequence[str], contents: Contents) -> None:
    """Failure where what is installed in the end is another version than the one asked for."""
    for pin in pins:
        name, _, version = pin.partition("==")
        installed = contents.version_of(name)
        if installed is None:
            raise Failure("pins_contradict", f"{pin} was asked for, and is not installed in the end")
        if _without_spelling(installed) != _without_spelling(version):
            raise Failure("pins_contradict", f"{pin} was asked for, and {installed} is installed in the end")


def _without_spelling(version: str) -> str:
    """Return a version without what differs only in writing (1.0 is 1.0.0), and without its local part."""
    text = version.lower().partition("+")[0].lstrip("v")
    while text.endswith(".0"):
        text = text[:-2]
    return text
