"""The second phase of a compound task: its units are what the first one answered."""

from typing import Any

import msgspec
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.executor.repositories.jobs import append_units
from services.executor.repositories.progress import Moves, encode
from services.executor.repositories.stored_submit import submit_of
from services.executor.repositories.tables import NO_BATCH, jobs, units
from services.executor.tasks.arguments import compute_units
from services.executor.tasks.outputs import read_init_output


async def begin_compute(connection: AsyncConnection, job: Row[Any], batch: Row[Any], moves: Moves) -> None:
    """Add the compute units of a locked job whose init has ended well; they wait for their batches.

    `batch` is the one that has just ended. What the init answered was judged when it was stored.
    """
    if job.task is None or batch.phase or job.unit_count > 1:
        return
    submit = submit_of(job)
    if len(submit.phases) < 2:  # noqa: PLR2004 - two phases
        return
    init = select(units.c.state, units.c.output).where(units.c.job_id == job.id, units.c.unit_index == 0)
    state, output = (await connection.execute(init)).one()
    if state != "succeeded":
        return
    elements = read_init_output(None if output is None else msgspec.json.decode(output))
    arguments = [encode(one) for one in compute_units(elements, submit.arguments_parallel)]
    if not arguments:
        return
    await append_units(connection, job.id, 1, arguments, [NO_BATCH] * len(arguments))
    await connection.execute(update(jobs).where(jobs.c.id == job.id).values(unit_count=1 + len(arguments)))
    moves.add(len(arguments))
