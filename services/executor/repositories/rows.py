"""Rows as they leave this room: structs whose fields are columns, in the order in which they are selected."""

from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Table

from stoker.contracts.environments import ActivityKind, EnvironmentState, Source
from stoker.contracts.jobs import BatchState, JobState, UnitState


class TypedRow(msgspec.Struct, frozen=True):
    """A row of a table. A test compares the types of the fields with those of the columns."""

    @classmethod
    def columns(cls, *tables: Table) -> tuple[ColumnElement[Any], ...]:
        """What to select, so that `cls(*row)` is the row: each from the first of the tables that has it."""
        return tuple(next(table.c[name] for table in tables if name in table.c) for name in cls.__struct_fields__)


class JobSource(TypedRow, frozen=True):
    """What it takes to make a job again, or to reach its folder. `spec` and `snapshot` are JSON texts."""

    id: str
    owner: str
    kind: Literal["work", "activity"]
    state: JobState
    profile_id: str
    resource_id: str
    folder: str
    unit_count: int
    spec: str
    snapshot: str


class JobRow(JobSource, frozen=True):
    """A job in work. Times are epoch seconds."""

    name: str
    placement: Literal["local", "slurm"]
    environment_id: str | None
    task: str | None
    waiting: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    lost: int
    staged: bool
    waiting_for: str | None
    cancel_requested_at: float | None
    cancel_requested_by: str | None
    started_at: float | None
    tries: int


class BatchRow(TypedRow, frozen=True):
    """One batch. Times are epoch seconds; `reason` and `end_seen` are JSON texts."""

    id: str
    job_id: str
    batch_index: int
    state: BatchState
    unit_count: int
    parallel: int
    phase: int
    native_id: str | None
    host: str | None
    reason: str | None
    staged: bool
    memory_growth: int
    time_growth: int
    fruitless: int
    note: str | None
    estimated_start: float | None
    scheduler: str | None
    end_seen: str | None
    events_offset: int
    results_offset: int
    left_out: int
    remark: str | None
    absent_since: float | None
    started_at: float | None
    ended_at: float | None
    cpu_seconds: float | None
    peak_memory_bytes: int | None


class LaunchedBatch(TypedRow, frozen=True):
    """A batch that was launched and has not ended, with what its job says of its place."""

    id: str
    job_id: str
    batch_index: int
    state: BatchState
    native_id: str
    events_offset: int
    results_offset: int
    scheduler: str | None
    kind: Literal["work", "activity"]
    placement: Literal["local", "slurm"]
    profile_id: str
    resource_id: str
    folder: str
    snapshot: str


class UnitLogRow(TypedRow, frozen=True):
    """A unit, and the place of its log. Offsets are bytes of the file of its slot."""

    unit_index: int
    state: UnitState
    batch_index: int
    started_at: float | None
    log_slot: int | None
    log_from: int | None
    log_to: int | None


class UnitArguments(TypedRow, frozen=True):
    """A unit as its runner is told of it. `arguments` is JSON text."""

    unit_index: int
    attempt: int
    arguments: str


class UnitOutcome(TypedRow, frozen=True):
    """What became of a unit. `output` and `reason` are JSON texts."""

    state: UnitState
    output: str | None
    reason: str | None
    started_at: float | None


class StoredFile(TypedRow, frozen=True):
    """A file that came with a request."""

    name: str
    content: bytes


class EnvironmentRow(TypedRow, frozen=True):
    """An environment. Times are epoch seconds; `request`, `arguments`, `built` and `reason` are JSON texts."""

    id: str
    state: EnvironmentState
    state_before: EnvironmentState | None
    source: Source
    package: str
    version: str | None
    owner: str
    profile_id: str
    resource_id: str
    request: str
    arguments: str
    built: str | None
    disk_bytes: int | None
    reason: str | None
    activity_id: str
    created_at: float
    updated_at: float
    identity: str | None
    body_sha256: str | None


class ActivityJob(TypedRow, frozen=True):
    """The job that an activity is."""

    id: str
    name: ActivityKind
    state: JobState
    owner: str
    environment_id: str
    resource_id: str
    profile_id: str
    reason: str | None
    waiting_for: str | None
    cancel_requested_at: float | None
    created_at: float
    started_at: float | None
    ended_at: float | None


class ActivityRow(ActivityJob, frozen=True):
    """An activity with the reason (JSON text) of its only unit."""

    unit_reason: str | None


class TaskRow(TypedRow, frozen=True):
    """A task, and what its environment says of its package. `description` is JSON text."""

    id: str
    environment_id: str
    name: str
    description: str
    package: str
    version: str | None


class HoldRow(TypedRow, frozen=True):
    """A profile that this executor holds in the registry, and under which token."""

    profile_id: str
    token: str
    state: Literal["held", "releasing"]
