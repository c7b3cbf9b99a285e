"""Placeholders in a command's arguments: one pass, and values that are put in are never looked at again."""

from __future__ import annotations

import json
import re

_PLACEHOLDER = re.compile(r"\{(args_json|out_json|unit|args\.[^{}]+)\}")


class ArgumentMissing(Exception):  # noqa: N818 - says what it is
    """The command names an argument that this unit does not have."""


class CommandTemplate:
    """A command split at its placeholders, once per batch.

    `wants_arguments_file` and `wants_output_file` say whether it mentions the files at all.
    """

    def __init__(self, command: list[str]) -> None:
        # re.split with one group gives text, name, text, name, …, text
        self._parts = [_PLACEHOLDER.split(argument) for argument in command]
        names = {name for parts in self._parts for name in parts[1::2]}
        self._command = None if names else command
        self.wants_arguments_file = "args_json" in names
        self.wants_output_file = "out_json" in names

    def fill(self, unit: int, arguments: dict[str, object], arguments_file: str, output_file: str) -> list[str]:
        """Return the command of one unit; ArgumentMissing when it lacks one."""
        if self._command is not None:
            return self._command

        def value(name: str) -> str:
            if name == "args_json":
                return arguments_file
            if name == "out_json":
                return output_file
            if name == "unit":
                return str(unit)
            key = name[len("args.") :]
            if key not in arguments:
                raise ArgumentMissing(f"the command uses {{args.{key}}}, but this unit has no argument {key!r}")
            found = arguments[key]
            return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

        return ["".join(value(part) if i % 2 else part for i, part in enumerate(parts)) for parts in self._parts]
