"""What the end of an activity does to its environment, in the transaction that makes its job final.

This module is called by the one that changes jobs, and imports nothing of it.
"""

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from services.executor.building.requests import StoredRequest
from services.executor.building.results import Built, read_result
from services.executor.model.endings import NEVER_STARTED
from services.executor.repositories import environments as rows
from services.executor.repositories.rows import EnvironmentRow, JobRow
from services.executor.repositories.unit_pages import unit_outcome
from services.executor.tasks.manifest import TaskDescription, tasks_of
from stoker.contracts.jobs import Reason
from stoker.errors import Invalid


async def conclude(connection: AsyncConnection, job: JobRow, state: str, now: float) -> None:
    """Let the environment of a locked activity be what the activity made of it. `state` is the job's final one."""
    if job.environment_id is None:
        return
    environment = await rows.lock_environment(connection, job.environment_id)
    if environment is None or environment.activity_id != job.id:
        return
    unit = await unit_outcome(connection, job.id, 0)
    result: Built | Reason
    if state == "succeeded" and unit.output is not None:
        result = read_result(msgspec.json.decode(unit.output))
    else:
        result = _reason(unit.reason)
    await rows.forget_file(connection, environment.id)
    fault = result if isinstance(result, Reason) else await _made(connection, environment, job.name, result, now)
    if fault is not None:
        await _failed(connection, environment, job.name, fault, now, touched=unit.started_at is not None)


async def _made(
    connection: AsyncConnection, environment: EnvironmentRow, kind: str, built: Built, now: float
) -> Reason | None:
    values: dict[str, Any] = {"updated_at": now, "reason": None, "state_before": None}
    if kind == "delete":
        await rows.delete_environment(connection, environment.id)
        return None
    if kind == "deactivate":
        await rows.move_environment(
            connection, environment.id, **values, state="inactive", disk_bytes=built.disk_bytes
        )
        return None
    package, version = built.package or environment.package, built.version or built.installed_version
    if kind == "create":
        try:
            described = tasks_of(built.manifest or {})
        except Invalid as error:
            return Reason(code="manifest_invalid", text=error.message)
        stored = [_row(environment.id, package, task, now + place / 1000) for place, task in enumerate(described)]
        await rows.replace_tasks(connection, environment.id, stored)
        values |= {
            "package": package,
            "version": version,
            "identity": await _identity(connection, environment, version),
        }
    values |= {"built": _encode(built), "disk_bytes": built.disk_bytes, "state": "ready"}
    await rows.move_environment(connection, environment.id, **values)
    return None


async def _identity(connection: AsyncConnection, environment: EnvironmentRow, version: str | None) -> str | None:
    """What it is known by from now on: by its version, also when the newest one was asked for."""
    if environment.identity is None:
        return None
    wanted = msgspec.json.decode(environment.request, type=StoredRequest)
    identity = msgspec.structs.replace(wanted, version=version).identity()
    other = await rows.find_identical(connection, identity)
    return identity if other is None or other.id == environment.id else None


async def _failed(
    connection: AsyncConnection, environment: EnvironmentRow, kind: str, reason: Reason, now: float, *, touched: bool
) -> None:
    """What was begun and not finished is never `ready`: it can be begun again from the state it gets here."""
    values: dict[str, Any] = {"updated_at": now, "reason": _encode(reason), "state_before": None}
    if kind == "create":
        values |= {"state": "failed", "identity": None}
    elif not touched:
        values |= {"state": environment.state_before}
    elif kind == "delete":
        values |= {"state": "failed"}
    else:
        values |= {"state": "inactive"}
    await rows.move_environment(connection, environment.id, **values)


def _reason(text: str | None) -> Reason:
    return NEVER_STARTED if text is None else msgspec.json.decode(text, type=Reason)


def _row(environment_id: str, package: str, task: TaskDescription, at: float) -> dict[str, Any]:
    said = (task.name, package, task.type, task.category, task.modality, *task.tags, task.docs_info, task.authors)
    return {
        # Ids in the order of the manifest.
        "id": str(ULID.from_timestamp(at)).lower(),
        "environment_id": environment_id,
        "name": task.name,
        "type": task.type,
        "description": _encode(task),
        "words": "\n".join(one for one in said if one).lower().replace("\0", ""),
    }


def _encode(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
