"""All results of a job as JSON lines, in the order of the units."""

from collections.abc import AsyncGenerator

import msgspec

from services.executor.repositories.unit_pages import all_results
from shared.service.database.transactions import Database

_encode = msgspec.json.Encoder().encode_lines


async def result_lines(database: Database, job_id: str) -> AsyncGenerator[bytes, None]:
    """Lines of `UnitResult`, some thousand at a time, read page by page as they are sent."""
    async for results in all_results(database, job_id):
        yield _encode(results)
