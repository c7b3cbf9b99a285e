"""What a runner is asked to do: batch.json, and units.jsonl read line by line (a million units cost no memory)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial

from shared.remote.common import untrusted
from shared.remote.common.layout import BATCH, FORMAT, UNITS

LARGEST_BATCH_BYTES = 64 * 1024 * 1024
LONGEST_UNIT_BYTES = 256 * 1024 * 1024
"""More than a request may bring."""

DEFAULT_OUTPUT_LIMIT_BYTES = 1024 * 1024
DEFAULT_KILL_GRACE_SECONDS = 2.0


class BatchInvalid(Exception):  # noqa: N818 - says what it is
    """The batch cannot be run as it is described."""


class Attempt:
    """One line of units.jsonl: one try of one unit."""

    __slots__ = ("arguments", "attempt", "unit")

    def __init__(self, unit: int, attempt: int, arguments: dict[str, object]) -> None:
        self.unit = unit
        self.attempt = attempt
        self.arguments = arguments


class Batch:
    """batch.json, checked. `work` is absolute.

    `exports` are paths relative to the user's cache folder, by the variables that units find them in. What a unit
    needs is 0 where nobody said (`cpus_per_unit`, `gpus_per_unit`, `step_memory_mb`). `max_restarts`: how often SLURM
    may start the batch again after units of it had begun. `step`: each unit is a step of the SLURM job.
    """

    __slots__ = (
        "batch_id",
        "command",
        "cpus_per_unit",
        "environment",
        "exports",
        "folder",
        "gpus_per_unit",
        "kill_grace_seconds",
        "mark",
        "max_restarts",
        "output_limit_bytes",
        "parallel",
        "step",
        "step_memory_mb",
        "unit_time_seconds",
        "work",
    )

    def __init__(self, folder: str, record: dict[str, object]) -> None:
        if record.get("format") != FORMAT:
            raise BatchInvalid(f"{BATCH} has format {record.get('format')!r}, this runner knows format {FORMAT}")
        self.folder = folder
        self.batch_id = _text(record, "batch_id", "")
        self.mark = _text(record, "mark", self.batch_id)
        self.parallel = max(1, int(_number(record, "parallel", 1)))
        self.command = _strings(record.get("command"))
        if not self.command:
            raise BatchInvalid(f"{BATCH}: the command is empty")
        self.environment = _texts(record, "environment")
        self.exports = _texts(record, "exports")
        self.cpus_per_unit = int(_number(record, "cpus_per_unit", 0))
        self.gpus_per_unit = int(_number(record, "gpus_per_unit", 0))
        self.max_restarts = int(_number(record, "max_restarts", 0))
        self.step = record.get("step", False) is True
        self.step_memory_mb = int(_number(record, "step_memory_mb", 0))
        self.work = os.path.normpath(os.path.join(folder, _text(record, "work", "../../work")))
        self.output_limit_bytes = int(_number(record, "output_limit_bytes", DEFAULT_OUTPUT_LIMIT_BYTES))
        self.kill_grace_seconds = _number(record, "kill_grace_seconds", DEFAULT_KILL_GRACE_SECONDS)
        limited = record.get("unit_time_seconds") is not None
        self.unit_time_seconds = _number(record, "unit_time_seconds", 0.0) if limited else None


def _text(record: dict[str, object], name: str, default: str) -> str:
    value = record.get(name, default)
    if not isinstance(value, str):
        raise BatchInvalid(f"{BATCH}: {name} is not a string: {value!r}")
    return value


def _texts(record: dict[str, object], name: str) -> dict[str, str]:
    value = record.get(name, {})
    if not isinstance(value, dict):
        raise BatchInvalid(f"{BATCH}: {name} is not an object")
    return {str(key): str(text) for key, text in value.items()}


def _number(record: dict[str, object], name: str, default: float) -> float:
    value = record.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BatchInvalid(f"{BATCH}: {name} is not a number: {value!r}")
    return value


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise BatchInvalid(f"{BATCH}: command is not a list of strings")
    return value


def load(folder: str) -> Batch:
    """Read batch.json of a batch folder; BatchInvalid or OSError."""
    with os.fdopen(untrusted.open_regular(os.path.join(folder, BATCH)), "rb") as file:
        try:
            record = untrusted.decode(file.read(LARGEST_BATCH_BYTES))
        except ValueError as error:
            raise BatchInvalid(f"{BATCH} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BatchInvalid(f"{BATCH} is not a JSON object")
    return Batch(folder, record)


def attempts(folder: str) -> Iterator[Attempt]:
    """Yield the attempts in their order; BatchInvalid at a line that makes no sense."""
    with os.fdopen(untrusted.open_regular(os.path.join(folder, UNITS)), "rb") as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST_UNIT_BYTES), b""), start=1):
            try:
                record = json.loads(line)
                yield Attempt(int(record["unit"]), int(record["attempt"]), dict(record["args"]))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                raise BatchInvalid(f"{UNITS} line {number} is not a unit: {error!r}") from error
