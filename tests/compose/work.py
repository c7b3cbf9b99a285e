"""Jobs whose units leave a trace that can be read over HTTP: a line in a file of the job's working folder."""

import asyncio
import io
import zipfile
from collections import Counter
from contextlib import aclosing

from shared.clients import ExecutorClient
from shared.contracts.events import JobEvent
from shared.contracts.jobs import FINAL_JOB_STATES, Job, JobSubmit
from shared.contracts.needs import Retries
from tests.compose.place import Place
from tests.waiting import until

END_SECONDS = 300.0
_TRACE = "starts.txt"


async def submit_tracing(
    executor: ExecutorClient, place: Place, *, units: int, seconds: float, retries: Retries | None = None
) -> Job:
    """Units append their number to a file when they start, then take `seconds`, and answer with their number."""
    script = f'echo "$1" >> {_TRACE}; sleep {seconds}; echo "unit $1"; echo "{{\\"unit\\": $1}}" > "$2"'
    wanted = JobSubmit(
        profile_id=place.profile_id,
        command=["sh", "-c", script, "unit", "{unit}", "{out_json}"],
        units=[{} for _ in range(units)],
        retries=retries or Retries(),
    )
    return await executor.submit(wanted)


async def starts(executor: ExecutorClient, job_id: str) -> Counter[int]:
    """How often each unit was started."""
    content = b"".join([chunk async for chunk in executor.archive(job_id)])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f"/{_TRACE}"))
        return Counter(int(line) for line in archive.read(name).split())


async def some_have_ended(executor: ExecutorClient, job_id: str) -> None:
    """Wait until the job is in the middle of its work."""

    async def underway() -> bool:
        counts = (await executor.job(job_id)).counts
        return counts.succeeded > 0 and counts.running > 0

    await until(underway, f"units of job {job_id} run and end", seconds=END_SECONDS)


async def events_to_the_end(executor: ExecutorClient, job_id: str) -> list[JobEvent]:
    """All events of a job, from a client that comes back after every outage."""
    seen = []
    async with asyncio.timeout(END_SECONDS), aclosing(executor.events(job_id=job_id, after=0)) as events:
        async for event in events:
            seen.append(event)
            if event.state in FINAL_JOB_STATES:
                break
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    return seen
