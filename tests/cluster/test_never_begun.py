"""Units that no start has begun are launched again by themselves, whatever ended their batch: what ran is lost."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.slurm.cluster import SlurmCluster
from tests.waiting import until
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.launching import TRACES, once_each, traces

pytestmark = pytest.mark.anyio

ONE_BATCH = {"batching_config": {"target_num_jobs": 1, "max_num_jobs": 1}}
FIRST_SLEEPS = ["sh", "-c", "echo once >> trace-{unit}; [ {unit} != 0 ] || exec sleep 1000"]


async def one_batch(site: ClusterStackSite) -> str:
    """A profile whose jobs are one batch, one unit at a time."""
    return await site.profile_on(site.cluster.users.ada, jobs_runner_config=ONE_BATCH)


async def test_a_node_that_dies_takes_only_what_ran_on_it(site: ClusterStackSite) -> None:
    """Its slurmd is away for longer than SLURM waits, and the runner lives on: it starts no further unit."""
    cluster, ada = site.cluster, site.cluster.users.ada
    job = await site.submit(ada, FIRST_SLEEPS, 4, profile_id=await one_batch(site))
    work = site.job_folder(ada, job) / "work"
    await until((work / "trace-0").exists, "the first unit runs")
    await site.until(job.id, "running")
    (batch,) = await site.batches(job.id)
    node = cluster.daemons.nodes[str(batch.host)]
    await asyncio.to_thread(node.kill)
    try:
        final = await site.until(job.id)
    finally:
        await asyncio.to_thread(node.start)
    assert Counter(unit.state for unit in await site.units(job.id)) == {"lost": 1, "succeeded": 3}, final
    assert [unit.attempt for unit in await site.units(job.id)] == [1] * 4
    assert traces(site, job) == once_each(4)
    first, second = await site.batches(job.id)
    assert first.reason is not None
    assert (first.reason.code, second.counts.succeeded) == ("node_failure", 3)


async def test_what_slurm_could_not_bring_to_its_node_runs_once_the_node_is_back(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    node = cluster.daemons.nodes["n2"]
    await asyncio.to_thread(node.kill)
    try:
        job = await site.submit(ada, TRACES, 3, profile_id=await one_batch(site), needs={"nodelist": "n2"})
        await until(lambda: _has_tried(cluster), "SLURM has tried to start it there")
    finally:
        await asyncio.to_thread(node.start)
    assert (await site.until(job.id)).state == "succeeded", await site.units(job.id)
    assert traces(site, job) == once_each(3)


def _has_tried(cluster: SlurmCluster) -> bool:
    return bool(cluster.administer("squeue", "-h", "--states=R,CF", "-o", "%i").stdout.strip())


@contextmanager
def prolog_that_fails_once(cluster: SlurmCluster, folder: Path) -> Iterator[None]:
    """Inside, the first node that is to run a job refuses to."""
    script = folder / "prolog"
    script.write_text(f"#!/bin/sh\nmkdir {folder}/prolog-failed 2>/dev/null && exit 1\nexit 0\n")
    script.chmod(0o755)
    with cluster.settings(Prolog=str(script)):
        yield


@pytest.mark.parametrize("requeue", [False, True])
async def test_a_node_whose_prolog_fails_costs_nothing(site: ClusterStackSite, tmp_path: Path, requeue: bool) -> None:  # noqa: FBT001
    cluster, ada = site.cluster, site.cluster.users.ada
    # Where SLURM may requeue, it does, and holds the job.
    more = {"retries": {"count": 1, "on": ["preempted"]}} if requeue else {}
    with prolog_that_fails_once(cluster, tmp_path):
        job = await site.submit(ada, TRACES, 2, profile_id=await one_batch(site), **more)
        final = await site.until(job.id)
    assert final.state == "succeeded", await site.units(job.id)
    assert traces(site, job) == once_each(2)
    first, second = await site.batches(job.id)
    assert first.reason is not None
    assert (first.reason.code, second.counts.succeeded) == ("launch_failed", 2)
    assert [unit.attempt for unit in await site.units(job.id)] == [1, 1]
