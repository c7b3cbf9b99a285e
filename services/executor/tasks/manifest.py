"""From a package's manifest to its tasks. What it must be is in `shared.remote.builder.packages.manifest`, once."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from services.executor.tasks.needs import needs_of
from shared.remote.builder.failures import Failure
from shared.remote.builder.packages import manifest as manifests
from stoker.contracts.needs import PartNeeds
from stoker.contracts.tasks import TaskType
from stoker.errors import Invalid


class TaskDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A task without its environment; executables are paths below the package's folder."""

    name: str
    type: TaskType
    executable_non_parallel: str | None = None
    executable_parallel: str | None = None
    needs_non_parallel: PartNeeds | None = None
    needs_parallel: PartNeeds | None = None
    input_types: dict[str, bool] = {}
    output_types: dict[str, bool] = {}
    args_schema_non_parallel: dict[str, Any] | None = None
    args_schema_parallel: dict[str, Any] | None = None
    args_schema_version: str | None = None
    docs_info: str | None = None
    docs_link: str | None = None
    category: str | None = None
    modality: str | None = None
    tags: list[str] = []
    authors: str | None = None
    warnings: list[str] | UnsetType = UNSET
    """What of it has no effect, in words."""


_AS_THEY_ARE = (
    "name",
    "type",
    "executable_non_parallel",
    "executable_parallel",
    "args_schema_non_parallel",
    "args_schema_parallel",
    "docs_info",
    "docs_link",
    "category",
    "modality",
)


def tasks_of(manifest: Mapping[str, Any]) -> list[TaskDescription]:
    """Return the tasks; fields that are not known are tolerated. Raises Invalid, saying what is wrong."""
    try:
        checked: dict[str, Any] = manifests.checked(dict(manifest))
    except Failure as failure:
        raise Invalid(failure.text, slug=failure.code.replace("_", "-")) from failure
    shared: dict[str, Any] = {
        "args_schema_version": _text(checked, "args_schema_version"),
        "authors": _text(checked, "authors"),
    }
    return [_task(task, shared) for task in checked["task_list"]]


def _task(task: Mapping[str, Any], shared: dict[str, Any]) -> TaskDescription:
    written: dict[str, Any] = {name: task.get(name) for name in _AS_THEY_ARE}
    warnings: list[str] = []
    return TaskDescription(
        **written,
        **shared,
        needs_non_parallel=_needs(task, "non_parallel", warnings),
        needs_parallel=_needs(task, "parallel", warnings),
        input_types=_flags(task, "input_types"),
        output_types=_flags(task, "output_types"),
        tags=list(task.get("tags") or []),
        warnings=warnings or UNSET,
    )


def _needs(task: Mapping[str, Any], part: str, warnings: list[str]) -> PartNeeds | None:
    meta = task.get(f"meta_{part}") or {}
    if task.get(f"executable_{part}") is None:
        if meta:
            warnings.append(f"meta_{part} is left out: the task has no such part")
        return None
    found, words = needs_of(meta, f"meta_{part}")
    warnings += words
    return found


def _flags(task: Mapping[str, Any], field: str) -> dict[str, bool]:
    return {name: bool(value) for name, value in (task.get(field) or {}).items()}


def _text(manifest: Mapping[str, Any], field: str) -> str | None:
    value = manifest.get(field)
    return value if isinstance(value, str) else None
