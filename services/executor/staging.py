"""What is put on the resource before a job is launched: one stream, made from the job's rows."""

import tempfile
from collections.abc import AsyncIterator
from functools import partial
from typing import IO, Any

import msgspec
from sqlalchemy import Row, select

from services.executor.tables import batches, job_files, units
from shared.bundle import runner_source
from shared.database import Database
from shared.pipes import StagedFile

_UNITS_A_PAGE = 5000
_IN_MEMORY_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class BatchFile(msgspec.Struct, frozen=True, kw_only=True):
    """batch.json: what the runner needs to know besides the units' arguments."""

    format: int = 1
    job_id: str
    batch_id: str
    index: int
    parallel: int
    command: list[str]
    environment: dict[str, str]
    mark: str
    output_limit_bytes: int
    kill_grace_seconds: float
    work: str = "../../work"
    unit_time_seconds: float | None = None


class StagingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What every batch is told of the limits set for this executor."""

    output_limit_bytes: int = 1024 * 1024
    kill_grace_seconds: float = 2.0


async def job_entries(database: Database, job: Row[Any], limits: StagingLimits) -> AsyncIterator[StagedFile]:
    """The files of a job's folder. Arguments are read page by page: a million units must not fill the memory."""
    submit = msgspec.json.decode(job.spec, type=dict[str, Any])
    yield StagedFile("runner.py", runner_source())
    async with database.read() as connection:
        files = (await connection.execute(select(job_files).where(job_files.c.job_id == job.id))).all()
        rows = (await connection.execute(select(batches).where(batches.c.job_id == job.id))).all()
    for file in files:
        yield StagedFile(f"work/{file.name}", file.content, mode=0o755)
    for batch in rows:
        folder = f"batches/{batch.batch_index:05d}"
        header = BatchFile(
            job_id=job.id,
            batch_id=batch.id,
            index=batch.batch_index,
            parallel=batch.parallel,
            command=submit["command"],
            environment=submit.get("environment", {}),
            mark=batch.id,
            output_limit_bytes=limits.output_limit_bytes,
            kill_grace_seconds=limits.kill_grace_seconds,
        )
        yield StagedFile(f"{folder}/batch.json", msgspec.json.encode(header))
        # It exists from the beginning: file systems that remember failed look-ups would hide it for a minute.
        yield StagedFile(f"{folder}/events.jsonl", b'{"event":"staged"}\n')
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as lines:
            size = await _write_units(database, job.id, batch.batch_index, lines)
            lines.seek(0)
            yield StagedFile(f"{folder}/units.jsonl", iter(partial(lines.read, _CHUNK_BYTES), b""), size=size)


async def _write_units(database: Database, job_id: str, batch_index: int, lines: IO[bytes]) -> int:
    last = -1
    while True:
        query = (
            select(units.c.unit_index, units.c.attempt, units.c.arguments)
            .where(units.c.job_id == job_id, units.c.batch_index == batch_index, units.c.unit_index > last)
            .order_by(units.c.unit_index)
            .limit(_UNITS_A_PAGE)
        )
        async with database.read() as connection:
            rows = (await connection.execute(query)).all()
        if not rows:
            return lines.tell()
        for row in rows:
            # The arguments are JSON text already.
            lines.write(f'{{"unit":{row.unit_index},"attempt":{row.attempt},"args":{row.arguments}}}\n'.encode())
        last = rows[-1].unit_index
