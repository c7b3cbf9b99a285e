"""The phases of a task and the arguments of their units, by the task's type."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from services.executor.tasks.manifest import TaskDescription
from services.executor.tasks.needs import merged
from services.executor.tasks.schemas import schema_errors
from stoker.contracts.jobs import MAX_UNITS
from stoker.contracts.needs import PartNeeds
from stoker.contracts.problems import FieldError
from stoker.contracts.tasks import ComputeUnit, TaskRun
from stoker.errors import Invalid

PhaseName = Literal["run", "init", "compute"]

GIVEN = frozenset({"zarr_url", "zarr_urls", "zarr_dir", "init_args"})
"""Arguments that no user gives: every task gets its own."""
_COMPOUND = frozenset({"compound", "converter_compound"})
_CONVERTERS = frozenset({"converter_non_parallel", "converter_compound"})
_MAX_ARGUMENTS_BYTES = 256 * 1024 * 1024
"""Of all units together, each of which gets its own copy."""


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """What runs, with which arguments; `units` is None where an earlier phase's answer decides them."""

    name: PhaseName
    executable: str
    units: list[dict[str, Any]] | None
    needs: PartNeeds


def phases_of(task: TaskDescription, run: TaskRun) -> list[Phase]:
    """Return one phase, or two for a compound task. Raises Invalid with every argument that is wrong."""
    errors = [*_data_errors(task, run), *_argument_errors(task, run)]
    if errors:
        raise Invalid(f"The arguments do not fit the task {task.name!r}", errors)
    phases = []
    if task.executable_non_parallel is not None:
        phases.append(
            Phase(
                name="init" if task.type in _COMPOUND else "run",
                executable=task.executable_non_parallel,
                units=[_once(task, run)],
                needs=merged(task.needs_non_parallel, run.needs_non_parallel),
            )
        )
    if task.executable_parallel is not None:
        each = (
            None if task.type in _COMPOUND else [{"zarr_url": url, **run.arguments_parallel} for url in run.zarr_urls]
        )
        phases.append(
            Phase(
                name="compute" if task.type in _COMPOUND else "run",
                executable=task.executable_parallel,
                units=each,
                needs=merged(task.needs_parallel, run.needs_parallel),
            )
        )
    return phases


def compute_units(elements: Sequence[ComputeUnit], arguments_parallel: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the units of a compound task's second phase, in the order in which the first one named them."""
    return [
        {"zarr_url": element.zarr_url, "init_args": element.init_args or {}, **arguments_parallel}
        for element in elements
    ]


def _once(task: TaskDescription, run: TaskRun) -> dict[str, Any]:
    images = {} if task.type in _CONVERTERS else {"zarr_urls": run.zarr_urls}
    return {"zarr_dir": run.zarr_dir, **images, **run.arguments_non_parallel}


def _data_errors(task: TaskDescription, run: TaskRun) -> list[FieldError]:
    errors = []
    if task.type == "parallel":
        if not run.zarr_urls:
            errors.append(FieldError("zarr_urls", "must hold at least one image: the task runs once for each"))
        if len(run.zarr_urls) > MAX_UNITS:
            errors.append(FieldError("zarr_urls", f"must hold at most {MAX_UNITS:,} images"))
        elif len(run.zarr_urls) * len(msgspec.json.encode(run.arguments_parallel)) > _MAX_ARGUMENTS_BYTES:
            words = (
                f"is given to each of {len(run.zarr_urls):,} units: more than {_MAX_ARGUMENTS_BYTES:,} bytes together"
            )
            errors.append(FieldError("arguments_parallel", words))
    elif run.zarr_dir is None:
        errors.append(FieldError("zarr_dir", f"is required: a task of type {task.type} gets it"))
    if task.type in _CONVERTERS and run.zarr_urls:
        errors.append(FieldError("zarr_urls", "must be left out: a converter has no images yet"))
    return errors


def _argument_errors(task: TaskDescription, run: TaskRun) -> list[FieldError]:
    parts = (
        ("non_parallel", task.executable_non_parallel, task.args_schema_non_parallel, run.arguments_non_parallel),
        ("parallel", task.executable_parallel, task.args_schema_parallel, run.arguments_parallel),
    )
    errors: list[FieldError] = []
    for part, executable, schema, arguments in parts:
        field = f"arguments_{part}"
        if executable is None:
            if arguments:
                errors.append(FieldError(field, f"must be left out: a task of type {task.type} has no such part"))
            continue
        given = sorted(GIVEN & arguments.keys())
        errors += [FieldError(f"{field}.{name}", "must be left out: every task gets it") for name in given]
        if schema is not None and not given:
            errors += schema_errors(schema, arguments, field, given_elsewhere=GIVEN)
    return errors
