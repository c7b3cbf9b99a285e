"""What the stack under test can take: `python -m tests.compose.capacity` prints the figures of docs/operations.md."""

import asyncio
import time
import urllib.request
from contextlib import aclosing

from stoker.clients import ExecutorClient
from stoker.contracts.jobs import FINAL_JOB_STATES, Job, JobSubmit
from tests.compose.containers import RunningContainers
from tests.over_http.address import StackAddress
from tests.over_http.place import Place, places
from tests.over_http.work import END_SECONDS, events_to_the_end
from tests.waiting import until

JOBS = 400
UNITS = 10_000
RUNNING = 100
AT_ONCE = 8


def memory(address: StackAddress) -> str:
    """Resident memory of the services' processes, in MB."""
    said = {}
    urls = (("registry", address.registry_url), ("executor", address.executor_url), ("poller", address.poller_url))
    for service, url in urls:
        request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {address.key}"})  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            (line,) = (line for line in answer if line.startswith(b"process_resident_memory_bytes "))
        said[service] = round(float(line.split()[1]) / 1e6)
    return ", ".join(f"{service} {size} MB" for service, size in said.items())


async def database_bytes(containers: RunningContainers) -> int:
    query = "psql --username postgres --tuples-only --no-align --command \"SELECT pg_database_size('executor')\""
    return int(await containers.inside("postgres", query))


async def submitted(executor: ExecutorClient, wanted: JobSubmit, count: int) -> list[Job]:
    """Submit a job so often, over some connections at once."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one() -> Job:
        async with limit:
            return await executor.submit(wanted)

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def small_jobs(executor: ExecutorClient, place: Place) -> None:
    """Jobs of one unit: how fast they are taken, and how fast their events come to somebody who listens."""
    wanted = JobSubmit(profile_id=place.profile_id, command=["true"], units=[{}])
    first = await executor.submit(wanted)
    position = (await events_to_the_end(executor, first.id))[-1].position
    began = time.monotonic()
    jobs = {job.id for job in await submitted(executor, wanted, JOBS)}
    accepted = time.monotonic() - began
    count = 0
    async with asyncio.timeout(10 * END_SECONDS), aclosing(executor.events(after=position)) as events:
        async for event in events:
            count += 1
            if event.state in FINAL_JOB_STATES:
                jobs.discard(event.job_id)
                if not jobs:
                    break
    ended = time.monotonic() - began
    print(f"jobs of one unit accepted per second: {JOBS / accepted:.0f}")
    print(f"jobs of one unit done per second, from the first call to the last event: {JOBS / ended:.1f}")
    began = time.monotonic()
    async with aclosing(executor.events(after=position)) as events:
        for _ in range(count):
            await anext(events)
    print(f"events read per second by one client: {count / (time.monotonic() - began):.0f}")


async def a_large_job(executor: ExecutorClient, place: Place, containers: RunningContainers) -> None:
    before = await database_bytes(containers)
    wanted = JobSubmit(profile_id=place.profile_id, command=["true"], units=[{"n": n} for n in range(UNITS)])
    began = time.monotonic()
    job = await executor.submit(wanted)
    print(f"units accepted per second, {UNITS} in one call: {UNITS / (time.monotonic() - began):.0f}")
    await events_to_the_end(executor, job.id)
    print(f"units done per second: {UNITS / (time.monotonic() - began):.0f}")
    print(f"database: {(await database_bytes(containers) - before) / 1e6:.1f} MB more for {UNITS} units")


async def main() -> None:
    """Measure on the local resource: a cluster adds what its scheduler takes."""
    address, containers = StackAddress.from_environment(), RunningContainers.from_environment()
    (local,) = (place for place in await places(address) if not place.on_cluster)
    async with address.executor() as executor:
        print(f"memory, idle: {memory(address)}")
        await small_jobs(executor, local)
        await a_large_job(executor, local, containers)
        print(f"memory, after that: {memory(address)}")
        sleeping = JobSubmit(profile_id=local.profile_id, command=["sleep", "600"], units=[{}])
        jobs = await submitted(executor, sleeping, RUNNING)

        async def all_run() -> bool:
            return all([(await executor.job(job.id)).counts.running for job in jobs])

        await until(all_run, "all jobs run", seconds=END_SECONDS)
        print(f"memory, {RUNNING} jobs running: {memory(address)}")
        for job in jobs:
            await executor.cancel(job.id)
        for job in jobs:
            await events_to_the_end(executor, job.id)


if __name__ == "__main__":
    asyncio.run(main())
