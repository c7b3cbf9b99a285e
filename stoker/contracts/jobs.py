"""Jobs, their batches and units, as callers see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from stoker.contracts.needs import SchedulingRequest
from stoker.contracts.resources import AbsolutePath
from stoker.contracts.tasks import TaskRun

MAX_UNITS = 1_000_000
MAX_FILES_BYTES = 16 * 1024 * 1024

JobState = Literal["accepted", "staging", "queued", "running", "collecting", "succeeded", "failed", "cancelled"]
BatchState = Literal["planned", "launching", "queued", "running", "ended", "revoked", "lost"]
UnitState = Literal["waiting", "running", "succeeded", "failed", "cancelled", "lost"]

FINAL_JOB_STATES: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
FINAL_UNIT_STATES: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "lost"})

ReasonCode = Literal[
    "exit_code",
    "signal",
    "command_not_found",
    "command_not_executable",
    "start_failed",
    "invalid_output",
    "output_too_large",
    "stray_processes_ended",
    "units_failed",
    "runner_died",
    "cancelled",
    "interrupted",
    "staging_failed",
    "launch_failed",
    "out_of_memory",
    "time_limit",
    "node_failure",
    "preempted",
    "scheduler_failed",
    "vanished",
]


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why something ended as it did: `code` for programs, `text` in words that a user understands."""

    code: ReasonCode | str
    text: str
    log_tail: str = ""


class JobSubmit(SchedulingRequest, forbid_unknown_fields=True, kw_only=True):
    """One submit call.

    `command` is a list of arguments, never shell text. In each of them `{args_json}` is replaced by the path of a
    file with the unit's arguments, `{out_json}` by the path where the unit may write its JSON result, `{unit}` by
    the unit's index, and `{args.NAME}` by the argument NAME (strings as they are, other values as JSON).
    Instead of both, `task` names a task of an environment and what it runs on: command and units follow from it,
    and `needs` go before those of the package.
    `files` (relative name to base64 content) are put into the job's working folder, where units run. `cache_dir` is
    the cache folder of units on the resource (`FRACTAL_CACHE_DIR`), instead of the profile's or one in the user's
    home.
    """

    profile_id: str
    command: list[str] = []  # noqa: RUF012 - msgspec makes a new one each time
    units: list[dict[str, Any]] = []  # noqa: RUF012 - the same
    task: TaskRun | None = None
    name: Annotated[str, Meta(max_length=200)] = ""
    files: dict[str, str] = {}  # noqa: RUF012 - msgspec makes a new one each time
    environment: dict[str, str] = {}  # noqa: RUF012 - the same
    tasks_per_job: Annotated[int, Meta(ge=1)] | None = None
    parallel_tasks_per_job: Annotated[int, Meta(ge=1)] | None = None
    cache_dir: AbsolutePath | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Units by state."""

    waiting: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as lists show it."""

    id: str
    name: str
    state: JobState
    profile_id: str
    resource_id: str
    owner: str
    command: list[str]
    unit_count: int
    counts: Counts
    created_at: datetime
    updated_at: datetime
    reason: Reason | None = None
    waiting_for: str | None = None
    """What keeps a job that is not final from going on, in words (resource unreachable since …)."""
    cancel_requested_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    folder: str = ""
    disk_bytes: int | None = None
    environment_id: str | None = None
    """Of a job that runs a task: whose task it is, and its name."""
    task: str | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of a job."""

    id: str
    index: int
    state: BatchState
    unit_count: int
    parallel: int
    counts: Counts
    native_id: str | None = None
    host: str | None = None
    reason: Reason | None = None
    waiting_for: str | None = None
    """Why a batch that was launched does not run yet, in words; None where there is nothing to say."""
    estimated_start: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cpu_seconds: float | None = None
    """What its units used, in all; known when it has ended."""
    peak_memory_bytes: int | None = None
    """The most that one of its units used."""
    remark: str | None = None
    """What in its folder is not what a runner writes and was left out, in words; None where all is well."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of a unit that another one followed."""

    attempt: int
    batch_index: int
    state: UnitState
    exit_code: int | None = None
    signal: int | None = None
    reason: Reason | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One unit with its latest attempt."""

    index: int
    state: UnitState
    arguments: dict[str, Any]
    attempt: int
    batch_index: int | None
    """None while the unit waits for a batch of its next attempt."""
    output: Any = None
    exit_code: int | None = None
    signal: int | None = None
    reason: Reason | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    log_bytes: int = 0


class UnitResult(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `GET /v1/jobs/{id}/results` (JSON lines, in the order of the units)."""

    index: int
    state: UnitState
    output: Any = None
    reason: Reason | None = None


class PlannedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Units `first` to `first + unit_count - 1`, `parallel` of them at once."""

    index: int
    first: int
    unit_count: int
    parallel: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a submit call would do, without doing it. `script` is the sbatch script (SLURM resources)."""

    resource_id: str
    profile_id: str
    unit_count: int
    batches: list[PlannedBatch]
    warnings: list[str] = []
    script: str | None = None
