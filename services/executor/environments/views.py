"""Rows of environments, their activities and tasks as callers see them."""

from typing import Any

import msgspec

from services.executor.building.requests import StoredRequest
from services.executor.building.results import Built
from services.executor.model.json_text import decode_reason
from services.executor.model.moments import moment
from services.executor.repositories.rows import ActivityRow, EnvironmentRow, TaskRow
from services.executor.tasks.manifest import TaskDescription
from stoker.contracts.environments import Activity, ActivityState, Environment
from stoker.contracts.jobs import Reason
from stoker.contracts.tasks import Task

_STATES: dict[str, ActivityState] = {
    "accepted": "pending",
    "staging": "pending",
    "queued": "pending",
    "running": "ongoing",
    "collecting": "ongoing",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
_NOT_TASKS_OWN = {"executable_non_parallel", "executable_parallel"}


def show_environment(row: EnvironmentRow, task_names: list[str], activity: Activity | None) -> Environment:
    """One environment with its latest activity."""
    wanted = msgspec.json.decode(row.request, type=StoredRequest)
    built = Built() if row.built is None else msgspec.json.decode(row.built, type=Built)
    return Environment(
        id=row.id,
        state=row.state,
        source=row.source,
        package=row.package,
        version=row.version,
        extras=wanted.extras,
        pre_pins=wanted.pre_pins,
        post_pins=wanted.post_pins,
        python_version=built.python_version or wanted.python_version,
        installer=built.installer,
        resource_id=row.resource_id,
        profile_id=row.profile_id,
        owner=row.owner,
        created_at=_moment(row.created_at),
        updated_at=_moment(row.updated_at),
        folder=built.folder,
        disk_bytes=row.disk_bytes,
        task_names=task_names,
        reason=decode_reason(row.reason),
        activity=activity,
    )


def show_activity(row: ActivityRow) -> Activity:
    """One activity."""
    return Activity(
        id=row.id,
        environment_id=row.environment_id,
        kind=row.name,
        state=_STATES[row.state],
        owner=row.owner,
        created_at=_moment(row.created_at),
        reason=_reason(row),
        waiting_for=row.waiting_for,
        cancel_requested_at=moment(row.cancel_requested_at),
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
    )


def show_task(row: TaskRow) -> Task:
    """One task."""
    described = msgspec.json.decode(row.description, type=TaskDescription)
    values = {name: value for name, value in msgspec.structs.asdict(described).items() if name not in _NOT_TASKS_OWN}
    return Task(
        id=row.id,
        environment_id=row.environment_id,
        package=row.package,
        package_version=row.version or "",
        **values,
    )


def _reason(row: ActivityRow) -> Reason | None:
    """Of one that failed what its only unit says; of one that was cancelled by whom."""
    whole = decode_reason(row.reason)
    return decode_reason(row.unit_reason) if row.state == "failed" and row.unit_reason is not None else whole


def _moment(seconds: float) -> Any:
    return moment(seconds)
