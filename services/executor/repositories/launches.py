"""Launches: calls of sbatch that were intended, and what became of them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.repositories.tables import launches
from shared.slurm.requests.script import ArrayPart


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One row. Times are epoch seconds by the service's clock."""

    marker: str
    job_id: str
    part: ArrayPart
    state: str
    intended_at: float
    uid: int | None
    array_job_id: int | None
    absent_since: float | None

    @property
    def may_be_unknown(self) -> bool:
        """Whether SLURM may have taken it, or take it yet, under a number that nobody knows."""
        return self.array_job_id is None and self.state != "refused"

    def covers(self, batch_index: int) -> bool:
        """Whether a batch is one of its tasks."""
        return self.part.covers(batch_index)

    def native_id(self, batch_index: int) -> str:
        """SLURM's name of this launch of a batch; only for launches that were accepted."""
        assert self.array_job_id is not None  # noqa: S101 - accepted
        return self.part.native_id(self.array_job_id, batch_index)


async def launches_of(connection: AsyncConnection, job_id: str) -> list[Launch]:
    """All launches of a job, the oldest first."""
    query = select(launches).where(launches.c.job_id == job_id).order_by(launches.c.intended_at, launches.c.marker)
    return [_launch(row) for row in await connection.execute(query)]


async def intend(connection: AsyncConnection, job_id: str, parts: Sequence[ArrayPart], at: float) -> None:
    """Note launches that are about to be made, each under a marker that was never used before (job locked)."""
    query = select(func.count()).select_from(launches).where(launches.c.job_id == job_id)
    used: int = (await connection.execute(query)).scalar_one()
    rows = [
        {
            "marker": f"{job_id}-{used + number}",
            "job_id": job_id,
            "base": part.base,
            "tasks": msgspec.json.encode(part.tasks).decode(),
            "state": "intended",
            "intended_at": at,
        }
        for number, part in enumerate(parts)
    ]
    await connection.execute(insert(launches), rows)


async def shrink(connection: AsyncConnection, marker: str, part: ArrayPart) -> None:
    """Leave only these of its batches to a launch that is still `intended`; the others have none any more."""
    await store(connection, marker, tasks=msgspec.json.encode(part.tasks).decode())


async def store(connection: AsyncConnection, marker: str, **values: Any) -> None:
    """Change a launch that is still `intended`."""
    statement = update(launches).where(launches.c.marker == marker, launches.c.state == "intended")
    await connection.execute(statement.values(**values))


def _launch(row: Row[Any]) -> Launch:
    return Launch(
        marker=row.marker,
        job_id=row.job_id,
        part=ArrayPart(row.base, msgspec.json.decode(row.tasks, type=tuple[int, ...])),
        state=row.state,
        intended_at=row.intended_at,
        uid=row.uid,
        array_job_id=row.array_job_id,
        absent_since=row.absent_since,
    )
