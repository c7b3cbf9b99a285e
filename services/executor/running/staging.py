"""What is put on the resource before a job or a further batch is launched: one stream, made from the rows."""

import tempfile
from collections.abc import AsyncIterator
from functools import partial
from typing import IO

from services.executor.repositories.environments import file_of
from services.executor.repositories.jobs import files_of
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.unit_pages import unit_arguments
from services.executor.running.batch_file import StagingLimits, batch_file
from shared.pipes import StagedFile
from shared.remote.bundle import builder_source, runner_source
from shared.service.database.transactions import Database

_UNITS_A_PAGE = 5000
_IN_MEMORY_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


async def job_entries(
    database: Database, job: JobRow, batches: list[BatchRow], limits: StagingLimits
) -> AsyncIterator[StagedFile]:
    """The files of a new job's folder, with those of these batches."""
    yield StagedFile("runner.py", runner_source())
    if job.kind == "activity":
        yield StagedFile("work/builder.py", builder_source())
    async with database.read() as connection:
        files = await files_of(connection, job.id)
        if job.environment_id is not None and job.kind == "activity":
            sent = await file_of(connection, job.environment_id)
            files += [] if sent is None else [sent]
    for file in files:
        yield StagedFile(f"work/{file.name}", file.content, mode=0o755)
    for batch in batches:
        async for entry in batch_entries(database, job, batch, limits, f"batches/{batch.batch_index:05d}/"):
            yield entry


async def batch_entries(
    database: Database, job: JobRow, batch: BatchRow, limits: StagingLimits, prefix: str = ""
) -> AsyncIterator[StagedFile]:
    """The files of one batch's folder. Arguments are read page by page: a million units must not fill the memory."""
    yield StagedFile(f"{prefix}batch.json", batch_file(job, batch, limits))
    # It exists from the beginning: file systems that remember failed look-ups would hide it for a minute.
    yield StagedFile(f"{prefix}events.jsonl", b'{"event":"staged"}\n')
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as lines:
        size = await _write_units(database, job.id, batch.batch_index, lines)
        lines.seek(0)
        yield StagedFile(f"{prefix}units.jsonl", iter(partial(lines.read, _CHUNK_BYTES), b""), size=size)


async def _write_units(database: Database, job_id: str, batch_index: int, lines: IO[bytes]) -> int:
    last = -1
    while True:
        async with database.read() as connection:
            rows = await unit_arguments(connection, job_id, batch_index, after=last, limit=_UNITS_A_PAGE)
        if not rows:
            return lines.tell()
        for row in rows:
            # The arguments are JSON text already.
            lines.write(f'{{"unit":{row.unit_index},"attempt":{row.attempt},"args":{row.arguments}}}\n'.encode())
        last = rows[-1].unit_index
