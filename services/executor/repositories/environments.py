"""Environments and their tasks: storing, finding and listing them."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.repositories.rows import ActivityJob, ActivityRow, EnvironmentRow, StoredFile, TaskRow
from services.executor.repositories.tables import environment_files, environments, jobs, tasks, units

_ESCAPE = "\\"
_environment: Select[*tuple[Any, ...]] = select(*EnvironmentRow.columns(environments))
_ACTIVITY = (*ActivityJob.columns(jobs), units.c.reason)
_OF_UNIT = (units.c.job_id == jobs.c.id) & (units.c.unit_index == 0)


class NewEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment to store, as its row begins. `request` and `arguments` are JSON texts."""

    id: str
    source: str
    package: str
    version: str | None
    owner: str
    key_id: str
    profile_id: str
    resource_id: str
    request: str
    arguments: str
    activity_id: str
    created_at: float
    identity: str
    idempotency_key: str | None
    body_sha256: str


async def insert_environment(connection: AsyncConnection, new: NewEnvironment) -> bool:
    """Store it; False, and nothing is stored, when the same was asked for before."""
    insertion = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = msgspec.structs.asdict(new) | {"state": "creating", "updated_at": new.created_at}
    statement = insertion(environments).values(**values).on_conflict_do_nothing()
    return (await connection.execute(statement.returning(environments.c.id))).one_or_none() is not None


async def add_file(connection: AsyncConnection, environment_id: str, name: str, content: bytes) -> None:
    """Store the file that came with a request."""
    await connection.execute(
        insert(environment_files).values(environment_id=environment_id, name=name, content=content)
    )


async def find_environment(connection: AsyncConnection, environment_id: str) -> EnvironmentRow | None:
    """One environment."""
    return await _one(connection, _environment.where(environments.c.id == environment_id))


async def lock_environment(connection: AsyncConnection, environment_id: str) -> EnvironmentRow | None:
    """One environment, locked until the transaction ends. Jobs are locked before environments."""
    return await _one(connection, _environment.where(environments.c.id == environment_id).with_for_update())


async def find_identical(connection: AsyncConnection, identity: str) -> EnvironmentRow | None:
    """The environment that another request for the same has made."""
    return await _one(connection, _environment.where(environments.c.identity == identity))


async def find_by_key(connection: AsyncConnection, key_id: str, idempotency_key: str) -> EnvironmentRow | None:
    """The environment that this access key made under this idempotency key."""
    query = _environment.where(environments.c.key_id == key_id, environments.c.idempotency_key == idempotency_key)
    return await _one(connection, query)


async def _one(connection: AsyncConnection, query: Select[*tuple[Any, ...]]) -> EnvironmentRow | None:
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else EnvironmentRow(*row)


class EnvironmentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which environments to list; None: of all. `resource_ids` are those that the caller may see."""

    resource_ids: Collection[str] | None = None
    resource_id: str | None = None
    state: str | None = None
    package: str | None = None


async def list_environments(
    connection: AsyncConnection, wanted: EnvironmentFilter, *, before_id: str | None, limit: int
) -> list[EnvironmentRow]:
    """Environments with ids before `before_id` (None: from the newest), the newest first."""
    query = _environment
    if wanted.resource_ids is not None:
        query = query.where(environments.c.resource_id.in_(wanted.resource_ids))
    for column in ("resource_id", "state", "package"):
        if (value := getattr(wanted, column)) is not None:
            query = query.where(environments.c[column] == value)
    if before_id is not None:
        query = query.where(environments.c.id < before_id)
    rows = await connection.execute(query.order_by(environments.c.id.desc()).limit(limit))
    return [EnvironmentRow(*row) for row in rows]


async def move_environment(connection: AsyncConnection, environment_id: str, **values: Any) -> None:
    """Change a locked environment."""
    await connection.execute(update(environments).where(environments.c.id == environment_id).values(**values))


async def delete_environment(connection: AsyncConnection, environment_id: str) -> None:
    """Remove an environment with its tasks."""
    await connection.execute(delete(environments).where(environments.c.id == environment_id))


async def file_of(connection: AsyncConnection, environment_id: str) -> StoredFile | None:
    """The file that came with its request, until it is made."""
    query: Select[*tuple[Any, ...]] = select(*StoredFile.columns(environment_files)).where(
        environment_files.c.environment_id == environment_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else StoredFile(*row)


async def forget_file(connection: AsyncConnection, environment_id: str) -> None:
    """Remove the file that came with its request."""
    await connection.execute(delete(environment_files).where(environment_files.c.environment_id == environment_id))


async def user_of(connection: AsyncConnection, environment_id: str) -> str | None:
    """Id of a job that is not final and runs a task of this environment, if there is one."""
    query = select(jobs.c.id).where(
        jobs.c.environment_id == environment_id, jobs.c.kind == "work", jobs.c.ended_at.is_(None)
    )
    found: str | None = (await connection.execute(query.limit(1))).scalar_one_or_none()
    return found


async def find_activity(connection: AsyncConnection, activity_id: str) -> ActivityRow | None:
    """One activity with why its unit ended as it did."""
    query: Select[*tuple[Any, ...]] = (
        select(*_ACTIVITY).outerjoin(units, _OF_UNIT).where(jobs.c.id == activity_id, jobs.c.kind == "activity")
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else ActivityRow(*row)


async def activities_by_id(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, ActivityRow]:
    """Activities by their ids."""
    query: Select[*tuple[Any, ...]] = select(*_ACTIVITY).outerjoin(units, _OF_UNIT).where(jobs.c.id.in_(ids))
    found = [ActivityRow(*row) for row in await connection.execute(query)]
    return {row.id: row for row in found}


async def list_activities(
    connection: AsyncConnection, environment_id: str, *, before_id: str | None, limit: int
) -> list[ActivityRow]:
    """Activities of an environment, the newest first."""
    query: Select[*tuple[Any, ...]] = (
        select(*_ACTIVITY)
        .outerjoin(units, _OF_UNIT)
        .where(jobs.c.environment_id == environment_id, jobs.c.kind == "activity")
    )
    if before_id is not None:
        query = query.where(jobs.c.id < before_id)
    rows = await connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))
    return [ActivityRow(*row) for row in rows]


async def task_names(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, list[str]]:
    """Names of the tasks of environments, in the order of the manifest, by environment."""
    query = select(tasks.c.environment_id, tasks.c.name).where(tasks.c.environment_id.in_(ids)).order_by(tasks.c.id)
    found: dict[str, list[str]] = {}
    for environment_id, name in await connection.execute(query):
        found.setdefault(environment_id, []).append(name)
    return found


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list; None: of all."""

    resource_ids: Collection[str] | None = None
    environment_id: str | None = None
    type: str | None = None
    search: str | None = None


async def list_tasks(
    connection: AsyncConnection, wanted: TaskFilter, *, after_id: str | None, limit: int
) -> list[TaskRow]:
    """Tasks with ids behind `after_id`, with package and version of their environments."""
    query = _tasks()
    if wanted.resource_ids is not None:
        query = query.where(environments.c.resource_id.in_(wanted.resource_ids))
    if wanted.environment_id is not None:
        query = query.where(tasks.c.environment_id == wanted.environment_id)
    if wanted.type is not None:
        query = query.where(tasks.c.type == wanted.type)
    for word in (wanted.search or "").lower().split():
        pattern = "".join(_ESCAPE + one if one in "%_" + _ESCAPE else one for one in word)
        query = query.where(tasks.c.words.like(f"%{pattern}%", escape=_ESCAPE))
    if after_id is not None:
        query = query.where(tasks.c.id > after_id)
    return [TaskRow(*row) for row in await connection.execute(query.order_by(tasks.c.id).limit(limit))]


async def find_task(connection: AsyncConnection, environment_id: str, name: str) -> TaskRow | None:
    """One task by its name."""
    query = _tasks().where(tasks.c.environment_id == environment_id, tasks.c.name == name)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else TaskRow(*row)


def _tasks() -> Select[*tuple[Any, ...]]:
    return select(*TaskRow.columns(tasks, environments)).join(
        environments, environments.c.id == tasks.c.environment_id
    )


async def replace_tasks(connection: AsyncConnection, environment_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Store the tasks of an environment anew."""
    await connection.execute(delete(tasks).where(tasks.c.environment_id == environment_id))
    if rows:
        await connection.execute(insert(tasks), list(rows))
