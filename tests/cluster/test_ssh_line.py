"""A line to the cluster that is cut, or goes silent, at every stage of a job: it loses nothing and repeats nothing.

The outages are of no fixed length: each lasts until the job says that its resource is unreachable and since when, and
some further attempts to connect were in vain.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from stoker.contracts.jobs import Job
from tests.servers.line import Line
from tests.servers.slurm.cluster import SlurmCluster
from tests.waiting import until
from tests.workshop.launching import TRACES, once_each, traces, waiting_for
from tests.workshop.ssh_site import SshSite

pytestmark = pytest.mark.anyio

How = Literal["closed", "silent"]
UNREACHABLE = "is unreachable since 20"
ONE_JOB = {"target_num_jobs": 1, "max_num_jobs": 1}
WAITS = (
    "echo once >> trace-{unit}; echo before; touch started-{unit}; while [ ! -e go ]; do sleep 0.1; done; echo after"
)


@pytest.fixture(params=["closed", "silent"])
def how(request: pytest.FixtureRequest) -> How:
    """Whether the line tells that it is cut."""
    found: How = request.param
    return found


def break_line(line: Line, how: How, **when: Any) -> None:
    """Until it heals, new connections fare no better. `when`: see `Line.cut`."""
    (line.refuse if how == "closed" else line.drop)(**when)


async def outlasted(site: SshSite, job: Job) -> None:
    """Until the job tells of the outage, and some attempts to connect were in vain."""
    await waiting_for(site, job, UNREACHABLE)
    before = site.line.counts()["connections"]
    await until(lambda: site.line.counts()["connections"] >= before + 2, "it was tried again")


@asynccontextmanager
async def outage(site: SshSite, how: How, job: Job) -> AsyncIterator[None]:
    """Inside, the line has been broken for a while."""
    break_line(site.line, how)
    await outlasted(site, job)
    yield
    site.line.heal()


async def ends_well(site: SshSite, job: Job, count: int) -> None:
    final = await site.until(job.id)
    assert (final.state, final.counts.succeeded, final.waiting_for) == ("succeeded", count, None)
    assert traces(site, job) == once_each(count)


async def broken(site: SshSite, before: int) -> None:
    """Until the break that was ordered has come about."""
    await until(lambda: site.line.counts()["broken"] > before, "the line broke on the way")


async def test_while_connecting(ssh_site: SshSite, how: How) -> None:
    ada = ssh_site.cluster.users.ada
    before = ssh_site.line.counts()["broken"]
    profile = await ssh_site.profile_on(ada)
    break_line(ssh_site.line, how, after_bytes=1000)  # in the middle of the exchange of keys, or later
    job = await ssh_site.submit(ada, TRACES, 2, profile_id=profile)
    await broken(ssh_site, before)
    await outlasted(ssh_site, job)
    ssh_site.line.heal()
    await ends_well(ssh_site, job, 2)


async def test_while_files_are_staged(ssh_site: SshSite, how: How) -> None:
    ada = ssh_site.cluster.users.ada
    await ssh_site.run(ada, ["true"])  # the pipes are open
    before = ssh_site.line.counts()["broken"]
    break_line(ssh_site.line, how, after_bytes=400_000)
    job = await ssh_site.submit(ada, TRACES, [{"text": secrets.token_hex(50_000)} for _ in range(10)])
    await broken(ssh_site, before)
    await outlasted(ssh_site, job)
    assert not (ssh_site.job_folder(ada, job)).exists()  # complete or absent
    ssh_site.line.heal()
    await ends_well(ssh_site, job, 10)


async def test_after_sbatch_took_the_job_and_before_its_number_came_back(ssh_site: SshSite, how: How) -> None:
    cluster, ada = ssh_site.cluster, ssh_site.cluster.users.ada
    marks = cluster.folder / f"marks-{secrets.token_hex(4)}"
    marks.mkdir()
    marks.chmod(0o777)
    real = cluster.commands.real_program("sbatch")
    script = f"""#!/bin/sh
[ "$1" = --version ] && exec {real} "$@"
answer=$({real} "$@") && touch {marks}/taken
while [ ! -e {marks}/answer ]; do sleep 0.1; done
echo "$answer"
"""
    cluster.commands.forget()
    with cluster.commands.answer("sbatch", script):
        job = await ssh_site.submit(ada, TRACES, 3)
        await until((marks / "taken").exists, "SLURM has taken the job")
        async with outage(ssh_site, how, job):
            (marks / "answer").touch()
        await ends_well(ssh_site, job, 3)
    submissions = [call for call in cluster.commands.calls("sbatch") if call.arguments != ("--version",)]
    assert len(submissions) == 1


async def test_while_jobs_are_queued_and_run_and_end_and_their_log_is_followed(ssh_site: SshSite, how: How) -> None:
    cluster, ada = ssh_site.cluster, ssh_site.cluster.users.ada
    held = await ssh_site.profile_on(
        ada, jobs_runner_config={"default_slurm_config": {"extra_lines": ["#SBATCH --hold"]}}
    )
    queued = await ssh_site.submit(ada, TRACES, 2, profile_id=held)
    runs = await ssh_site.submit(ada, ["sh", "-c", WAITS])
    ends = await ssh_site.submit(ada, ["sh", "-c", WAITS], 2)
    followed = asyncio.create_task(follow(ssh_site, runs))
    for job in (runs, ends):
        await ssh_site.until(job.id, "running")
        await until((work_of(ssh_site, job) / "started-0").exists, "the first unit runs")
    await ssh_site.until(queued.id, "queued")
    native_ids = {str(batch.native_id).partition("_")[0] for batch in await ssh_site.batches(queued.id)}

    async with outage(ssh_site, how, runs):
        for job in (queued, ends):
            await waiting_for(ssh_site, job, UNREACHABLE)
        await check_says_why(ssh_site)
        await asyncio.to_thread(cluster.administer, "scontrol", "release", *native_ids)
        (work_of(ssh_site, ends) / "go").touch()
        await until(partial(one_is_left, cluster), "the others end unseen")
        for job in (queued, runs, ends):
            assert (await ssh_site.until(job.id, "queued", "running")).counts.failed == 0
    await ends_well(ssh_site, queued, 2)
    await ends_well(ssh_site, ends, 2)
    (work_of(ssh_site, runs) / "go").touch()
    await ends_well(ssh_site, runs, 1)
    async with asyncio.timeout(120):
        assert await followed == "before\nafter\n"


def work_of(site: SshSite, job: Job) -> Path:
    return site.job_folder(site.cluster.users.ada, job) / "work"


def one_is_left(cluster: SlurmCluster) -> bool:
    return len(cluster.administer("squeue", "-h", "-o", "%A").stdout.split()) == 1


async def check_says_why(site: SshSite) -> None:
    async with site.stack.executor() as executor:
        report = await executor.check(site.profile(site.cluster.users.ada))
    found = {one.name: one for one in report.findings}
    assert not report.usable
    assert (found["agent"].level, found["connection"].level) == ("error", "warning")
    assert UNREACHABLE in found["connection"].detail


async def follow(site: SshSite, job: Job) -> str:
    async with site.stack.executor() as executor:
        chunks = [chunk async for chunk in executor.unit_log(job.id, 0, follow=True)]
    return b"".join(chunks).decode()


async def test_while_large_results_are_fetched(ssh_site: SshSite, how: How) -> None:
    ada = ssh_site.cluster.users.ada
    await ssh_site.run(ada, ["true"])  # the pipes are open
    units = [{"text": secrets.token_hex(100_000)} for _ in range(8)]
    copies = ["sh", "-c", "echo once >> trace-{unit}; cp '{args_json}' '{out_json}'"]
    before = ssh_site.line.counts()["broken"]
    break_line(ssh_site.line, how, after_bytes=800_000, towards_server=False)
    job = await ssh_site.submit(ada, copies, units)
    await broken(ssh_site, before)
    await outlasted(ssh_site, job)
    ssh_site.line.heal()
    await ends_well(ssh_site, job, 8)
    assert [unit.output for unit in await ssh_site.units(job.id)] == units
