"""Many jobs at once: what they cost the scheduler, sudo and those who ask meanwhile; and what a job shows."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from stoker.contracts.jobs import Job
from tests.servers.slurm.calls import CountedCommands
from tests.waiting import until
from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio

MANY, FEW = 50, 5
OTHERS_AT_MOST = 6
"""Calls that do not come back each interval: what the cluster is like, asked by each service once in minutes."""


async def submit(site: SudoSite, count: int, command: list[str]) -> list[Job]:
    """So many jobs, by both scientists in turn."""
    users = site.cluster.users.scientists
    jobs = (site.submit(users[number % 2], command) for number in range(count))
    return await asyncio.gather(*jobs)


async def all_succeed(site: SudoSite, jobs: list[Job]) -> None:
    ended = await asyncio.gather(*(site.until(job.id, seconds=240) for job in jobs))
    assert Counter(job.state for job in ended) == {"succeeded": len(jobs)}


def counted(commands: CountedCommands) -> Counter[str]:
    """How often each program was called; sbatch that is asked for its version submits nothing."""
    return Counter(call.program for call in commands.calls() if call.arguments != ("--version",))


async def asks_all_the_time(site: SudoSite, over: asyncio.Event) -> int:
    """How often somebody who looks at everything got an answer; raises when there was none."""
    answers = 0
    async with site.stack.executor() as executor, site.stack.poller() as poller, site.stack.registry() as registry:
        while not over.is_set():
            async with asyncio.timeout(120):
                await poller.resources_health()
                _ = [resource async for resource in registry.resources()]
                await executor.usage()
                await executor.jobs(limit=20)
            answers += 1
            await asyncio.sleep(0.05)
    return answers


async def test_looks_at_the_cluster_grow_with_time_and_not_with_jobs(sudo_site: SudoSite) -> None:
    commands, interval = sudo_site.cluster.commands, 1.0
    for user in sudo_site.cluster.users.scientists:
        await sudo_site.run(user, ["true"])  # the pipes are open
    commands.forget()
    over = asyncio.Event()
    asking = asyncio.create_task(asks_all_the_time(sudo_site, over))
    began = time.monotonic()
    await all_succeed(sudo_site, await submit(sudo_site, MANY, ["sleep", "0.5"]))
    lasted = time.monotonic() - began
    over.set()
    many = counted(commands)
    assert await asking > 1

    commands.forget()
    began = time.monotonic()
    go = [user.home / "go" for user in sudo_site.cluster.users.scientists]
    jobs = await submit(sudo_site, FEW, ["sh", "-c", "until [ -e ~/go ]; do sleep 0.2; done"])
    await asyncio.sleep(lasted)
    for file in go:
        file.touch()
    await all_succeed(sudo_site, jobs)
    lasted_too = time.monotonic() - began
    few = counted(commands)
    for file in go:
        file.unlink()

    assert (many["sbatch"], few["sbatch"]) == (MANY, FEW)
    assert (many["srun"], many["scancel"], many["sudo"]) == (0, 0, 0)
    assert many["scontrol"] + many["sacctmgr"] <= OTHERS_AT_MOST
    # The poller looks once an interval, and so does the executor where something is to be judged.
    assert many["squeue"] <= 2 * (lasted / interval + 1), (many, lasted)
    assert many["sacct"] <= lasted / interval + 1, (many, lasted)
    # A run that only waits has less to judge: at most half of the looks fall away.
    assert many["squeue"] <= 2 * few["squeue"] * max(1.0, lasted / lasted_too) + OTHERS_AT_MOST, (many, few)


async def test_a_finished_job_shows_where_and_when_it_ran_and_what_it_used(sudo_site: SudoSite) -> None:
    ada, began = sudo_site.cluster.users.ada, datetime.now(UTC)
    burns = "x = bytearray(30_000_000)\nimport time\nwhile time.process_time() < 0.5: pass"
    job = await sudo_site.run(ada, ["python3", "-c", burns], 3)
    batches = await sudo_site.batches(job.id)
    assert sum(batch.unit_count for batch in batches) == 3
    for batch in batches:
        shown = await asyncio.to_thread(sudo_site.cluster.wait_for_job, str(batch.native_id), "COMPLETED")
        assert shown["UserId"].startswith(f"{ada.name}(")
        assert batch.host == shown["BatchHost"]
        assert batch.started_at is not None
        assert batch.ended_at is not None
        assert began <= batch.started_at <= batch.ended_at <= datetime.now(UTC)
        assert batch.cpu_seconds is not None
        assert batch.cpu_seconds >= 0.5 * batch.unit_count
        assert batch.peak_memory_bytes is not None
        assert batch.peak_memory_bytes >= 30_000_000
    assert len({batch.native_id for batch in batches}) == len(batches)
    assert job.started_at is not None
    assert job.ended_at is not None


async def test_the_poll_interval_of_a_resource_spaces_the_looks_at_its_queue(sudo_site: SudoSite) -> None:
    ada, commands = sudo_site.cluster.users.ada, sudo_site.cluster.commands
    profile = await sudo_site.profile_on(ada, jobs_poll_interval=60)
    async with sudo_site.stack.poller() as poller:

        async def nothing_is_watched() -> bool:
            return not (await poller.watches()).profiles

        await until(nothing_is_watched, "jobs of other tests are no longer looked for")
    commands.forget()
    job = await sudo_site.run(ada, ["sleep", "6"], profile_id=profile)
    # Its files tell of its start and end meanwhile.
    assert job.state == "succeeded"
    assert 1 <= counted(commands)["squeue"] <= 3
