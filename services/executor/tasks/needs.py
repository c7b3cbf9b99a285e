"""What a task's unit needs: what its package says, changed by the request."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from shared.service.flags import read_flag
from stoker.contracts.needs import Needs, PartNeeds

_FIELDS = tuple(field.name for field in msgspec.structs.fields(PartNeeds))
_ELSEWHERE = {
    "account": "an account is named by the job, or by the resource's configuration",
    "worker_init": "these lines are given with the job",
}
"""Keys that mean something, and where that is said."""


def needs_of(meta: Mapping[str, Any], where: str) -> tuple[PartNeeds, list[str]]:
    """Return the needs in a manifest's `meta_…`, and a warning for each value that has no effect.

    Values may be written as another type than they mean ("4", 4.0, "true"); null means nothing.
    """
    known: dict[str, Any] = {}
    warnings = []
    for field, value in meta.items():
        if value is None:
            continue
        if field not in _FIELDS:
            why = _ELSEWHERE.get(field, "it has no meaning here")
            warnings.append(f"{where}.{field} is left out: {why}")
            continue
        meant = _READ.get(field, _text)(value)
        try:
            msgspec.convert({field: meant}, PartNeeds)
        except msgspec.ValidationError as error:
            warnings.append(f"{where}.{field} is left out: {error}")
        else:
            known[field] = meant
    return msgspec.convert(known, PartNeeds), warnings


def merged(package: PartNeeds | None, request: Needs) -> PartNeeds:
    """Return the needs, the request's values winning over the package's; the lines of both, each of them once."""
    if package is None:
        package = PartNeeds()
    values = {name: getattr(request, name) for name in request.__struct_fields__}
    written = {name: value for name, value in values.items() if value is not UNSET}
    lines = list(dict.fromkeys([*package.extra_lines, *written.pop("extra_lines", [])]))
    return msgspec.structs.replace(package, **written, extra_lines=lines)


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        return int(value)
    return value


def _memory(value: object) -> object:
    return value.strip() if isinstance(value, str) else _whole(value)


def _flag(value: object) -> object:
    meant = read_flag(value)
    return value if meant is None else meant


def _text(value: object) -> object:
    """A number stands for its digits."""
    value = _whole(value) if isinstance(value, float) else value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _lines(value: object) -> object:
    return [value] if isinstance(value, str) else value


_READ: Mapping[str, Callable[[object], object]] = {
    "cpus_per_task": _whole,
    "nodes": _whole,
    "tasks_per_job": _whole,
    "parallel_tasks_per_job": _whole,
    "mem": _memory,
    "needs_gpu": _flag,
    "extra_lines": _lines,
}
