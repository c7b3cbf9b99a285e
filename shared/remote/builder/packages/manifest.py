"""The manifest of a task package: read, and checked for everything that would fail a user's first task.

Fields that are not known are left alone: packages carry those of earlier and later versions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping

from shared.remote.builder.failures import Failure

VERSION = "2"
MOST_BYTES = 8 * 1024 * 1024

NON_PARALLEL = "executable_non_parallel"
PARALLEL = "executable_parallel"
EXECUTABLES: Mapping[str, tuple[str, ...]] = {
    "non_parallel": (NON_PARALLEL,),
    "parallel": (PARALLEL,),
    "compound": (NON_PARALLEL, PARALLEL),
    "converter_non_parallel": (NON_PARALLEL,),
    "converter_compound": (NON_PARALLEL, PARALLEL),
}
"""Types of tasks, and the executables that each has."""
_OBJECTS = (
    "meta_non_parallel",
    "meta_parallel",
    "args_schema_non_parallel",
    "args_schema_parallel",
    "input_types",
    "output_types",
)
_TEXTS = ("category", "modality", "docs_info", "docs_link")


def read_manifest(path: str) -> dict[str, object]:
    """Return a manifest with every task's type filled in; Failure when it cannot be used."""
    if os.path.getsize(path) > MOST_BYTES:
        raise Failure("manifest_invalid", f"the manifest has more than {MOST_BYTES:,} bytes")
    with open(path, "rb") as file:
        return parse_manifest(file.read())


def parse_manifest(content: bytes) -> dict[str, object]:
    """Do the same with a manifest's bytes."""
    try:
        manifest = json.loads(content)
        json.dumps(manifest, ensure_ascii=False, allow_nan=False).encode()  # what is not JSON for all others
    except (ValueError, RecursionError) as error:
        raise Failure("manifest_invalid", f"the manifest is not JSON: {error}") from error
    return checked(manifest)


def checked(manifest: object) -> dict[str, object]:
    """Return the manifest with every task's type filled in; Failure names the task and what is wrong with it."""
    if not isinstance(manifest, dict):
        raise _wrong("it is not an object")
    if manifest.get("manifest_version") != VERSION:
        raise _wrong(f'manifest_version must be "{VERSION}", it is {manifest.get("manifest_version")!r}')
    tasks = manifest.get("task_list")
    if not isinstance(tasks, list) or not tasks:
        raise _wrong("task_list must be a list with at least one task")
    found: dict[str, dict[str, object]] = {}
    for index, task in enumerate(tasks):
        good = _task(task, index)
        name = str(good["name"])
        if name in found:
            raise Failure("manifest_duplicate_task", f"the manifest has two tasks of the name {name!r}")
        found[name] = good
    return {**manifest, "task_list": list(found.values())}


def check_executables(manifest: Mapping[str, object], folder: str, is_there: Callable[[str], bool]) -> None:
    """Failure unless each executable is a file inside the package's folder, of which `is_there` knows."""
    tasks = manifest["task_list"]
    for task in tasks if isinstance(tasks, list) else []:
        for field in (NON_PARALLEL, PARALLEL):
            name = task.get(field)
            if name is not None and not is_there(name):
                text = f"task {task['name']!r}: {field} names {name!r}, which is not in {folder}"
                raise Failure("manifest_executable_missing", text)


def _task(task: object, index: int) -> dict[str, object]:
    if not isinstance(task, dict):
        raise _wrong(f"task_list[{index}] is not an object")
    name = task.get("name")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise _wrong(f"task_list[{index}] has no name")
    for field in (NON_PARALLEL, PARALLEL):
        _executable(task.get(field), f"task {name!r}: {field}")
    for field in _OBJECTS:
        if task.get(field) is not None and not isinstance(task[field], dict):
            raise _wrong(f"task {name!r}: {field} must be an object")
    for field in _TEXTS:
        if task.get(field) is not None and not isinstance(task[field], str):
            raise _wrong(f"task {name!r}: {field} must be a text")
    tags = task.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise _wrong(f"task {name!r}: tags must be a list of texts")
    return {**task, "type": _type(task, name)}


def _type(task: Mapping[str, object], name: str) -> str:
    given = [field for field in (NON_PARALLEL, PARALLEL) if task.get(field) is not None]
    kind = task.get("type")
    if kind is None:
        fitting = [kind for kind, fields in EXECUTABLES.items() if list(fields) == given]
        if not fitting:
            raise _wrong(f"task {name!r} has no executable")
        return fitting[0]
    if not isinstance(kind, str) or kind not in EXECUTABLES:
        raise _wrong(f"task {name!r}: type must be one of {', '.join(EXECUTABLES)}, it is {kind!r}")
    if list(EXECUTABLES[kind]) != given:
        raise _wrong(f"task {name!r} is {kind} and must have {' and '.join(EXECUTABLES[kind])}, and no other")
    return kind


def _executable(value: object, where: str) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(f"{where} must be a path")
    if os.path.isabs(value) or os.path.normpath(value).startswith(".."):
        raise _wrong(f"{where} must be a path inside the package: {value!r}")


def _wrong(text: str) -> Failure:
    return Failure("manifest_invalid", f"the manifest is not valid: {text}")
