"""Job events: numbered per job under the lock of its row, and placed in the whole stream after the commit."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.repositories.rows import JobRow
from services.executor.repositories.tables import events, jobs, stream
from stoker.contracts.events import FailedUnit, JobEvent
from stoker.contracts.jobs import Counts, Reason

_EVENT = msgspec.json.Decoder(JobEvent)
_give_position = (
    update(events)
    .where(events.c.job_id == bindparam("b_job"), events.c.sequence == bindparam("b_sequence"))
    .values(position=bindparam("b_position"))
)


async def append_event(
    connection: AsyncConnection,
    job: JobRow,
    *,
    type_: Any,
    state: Any,
    counts: Counts,
    at: float,
    reason: Reason | None = None,
    failed_units: list[FailedUnit] | None = None,
    failed_units_left_out: int = 0,
) -> None:
    """Write the next event of a job whose row this transaction has locked."""
    sequence = (
        await connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id)
            .values(last_sequence=jobs.c.last_sequence + 1)
            .returning(jobs.c.last_sequence)
        )
    ).scalar_one()
    event = JobEvent(
        position=0,
        job_id=job.id,
        sequence=sequence,
        type=type_,
        state=state,
        counts=counts,
        at=datetime.fromtimestamp(at, UTC),
        reason=reason,
        failed_units=failed_units or [],
        failed_units_left_out=failed_units_left_out,
    )
    await connection.execute(
        insert(events).values(
            job_id=job.id,
            sequence=sequence,
            owner=job.owner,
            type=type_,
            data=msgspec.json.encode(event).decode(),
            at=at,
        )
    )


async def give_positions(connection: AsyncConnection, limit: int = 1000) -> list[tuple[JobEvent, str]]:
    """Give committed events their place in the stream; returns them in that order, each with its owner.

    One giver at a time (the row of `stream` is locked), and only committed events are visible to it: so positions
    appear in order, and no event ever appears behind a position that a reader has passed.
    """
    last = (
        await connection.execute(select(stream.c.last_position).where(stream.c.id == 1).with_for_update())
    ).scalar_one()
    query = (
        select(events.c.job_id, events.c.sequence, events.c.data, events.c.owner)
        .where(events.c.position.is_(None))
        .order_by(events.c.job_id, events.c.sequence)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    positioned = [
        (msgspec.structs.replace(_EVENT.decode(row.data), position=position), row.owner)
        for position, row in enumerate(rows, last + 1)
    ]
    if positioned:
        places = [{"b_job": e.job_id, "b_sequence": e.sequence, "b_position": e.position} for e, _ in positioned]
        await connection.execute(_give_position, places)
        await connection.execute(update(stream).where(stream.c.id == 1).values(last_position=last + len(rows)))
    return positioned


async def read_stream(
    connection: AsyncConnection, *, after: int, owner: str | None, job_id: str | None, limit: int = 500
) -> list[tuple[JobEvent, str]]:
    """Events behind position `after`, of one owner (None: all) and one job (None: all), in order, with owners."""
    query = select(events.c.position, events.c.data, events.c.owner).where(events.c.position > after)
    if owner is not None:
        query = query.where(events.c.owner == owner)
    if job_id is not None:
        query = query.where(events.c.job_id == job_id)
    rows = (await connection.execute(query.order_by(events.c.position).limit(limit))).all()
    return [(msgspec.structs.replace(_EVENT.decode(row.data), position=row.position), row.owner) for row in rows]


async def unpositioned(connection: AsyncConnection) -> bool:
    """Whether there are events without a place in the stream."""
    query = select(events.c.job_id).where(events.c.position.is_(None)).limit(1)
    return (await connection.execute(query)).first() is not None


async def last_position(connection: AsyncConnection) -> int:
    """The newest event's place in the stream, 0 while there is none."""
    position: int = (await connection.execute(select(stream.c.last_position).where(stream.c.id == 1))).scalar_one()
    return position
