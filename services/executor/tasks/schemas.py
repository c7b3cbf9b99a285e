"""A task's arguments against the JSON Schema in its package's manifest."""

from collections.abc import Collection, Mapping
from typing import Any

import jsonschema_rs

from stoker.contracts.problems import FieldError

MAX_ERRORS = 20


def schema_errors(
    schema: Mapping[str, Any], arguments: Mapping[str, Any], path: str, *, given_elsewhere: Collection[str] = ()
) -> list[FieldError]:
    """Return what is wrong with the arguments (at most MAX_ERRORS); `path` is where they were written.

    What is given elsewhere need not be there. A schema that is none itself cannot be held against anybody:
    arguments are then taken as they are.
    """
    wanted = dict(schema)
    if isinstance(required := wanted.get("required"), list):
        wanted["required"] = [name for name in required if name not in given_elsewhere]
    try:
        validator = jsonschema_rs.validator_for(wanted, retriever=_nothing_from_elsewhere)
    except ValueError:
        return []
    errors = []
    for error in validator.iter_errors(dict(arguments)):
        errors.append(FieldError(_join(path, error.instance_path), error.message))
        if len(errors) == MAX_ERRORS:
            break
    return errors


def _nothing_from_elsewhere(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of the schema")


def _join(path: str, parts: list[str | int]) -> str:
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path
