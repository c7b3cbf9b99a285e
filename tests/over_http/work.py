"""Jobs whose units leave a trace that can be read over HTTP: a line in a file of the job's working folder."""

import asyncio
import io
import zipfile
from collections import Counter
from contextlib import aclosing

from stoker.clients import ExecutorClient
from stoker.contracts.events import JobEvent
from stoker.contracts.jobs import FINAL_JOB_STATES, Job, JobSubmit
from stoker.contracts.needs import Retries
from tests.over_http.place import Place

END_SECONDS = 300.0
UNITS = 200
LONG_SECONDS = 15.0
ONCE_EACH = dict.fromkeys(range(UNITS), 1)
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
        # Four at once here, eight on a cluster: several jobs fit there side by side.
        parallel_tasks_per_job=4,
        tasks_per_job=-(-units // 2) if place.on_cluster else None,
        retries=retries or Retries(),
    )
    return await executor.submit(wanted)


async def starts(executor: ExecutorClient, job_id: str) -> Counter[int]:
    """How often each unit was started."""
    content = b"".join([chunk async for chunk in executor.archive(job_id)])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f"/{_TRACE}"))
        return Counter(int(line) for line in archive.read(name).split())


async def succeeds(executor: ExecutorClient, job: Job) -> None:
    """Wait for a job's end, which is a good one for all units."""
    end = (await events_to_the_end(executor, job.id))[-1]
    assert end.state == "succeeded", end
    assert end.counts.succeeded == job.unit_count


async def submit_long(executor: ExecutorClient, place: Place, *, retries: Retries | None = None) -> Job:
    """A job of 200 units that takes some seconds on any resource: time enough to do something to the stack."""
    at_once = 8 if place.on_cluster else 4
    return await submit_tracing(executor, place, units=UNITS, seconds=LONG_SECONDS * at_once / UNITS, retries=retries)


async def some_have_ended(executor: ExecutorClient, job_id: str) -> None:
    """Wait until the job is in the middle of its work."""
    async with asyncio.timeout(END_SECONDS), aclosing(executor.events(job_id=job_id, after=0)) as events:
        async for event in events:
            assert event.state not in FINAL_JOB_STATES, event
            if event.counts.succeeded and event.counts.running:
                return


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
