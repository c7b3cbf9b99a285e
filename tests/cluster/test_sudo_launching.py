"""Submitting to a real SLURM that refuses, is full, or does not say what it did; and executors that die meanwhile."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.servers.slurm.accounts import LIMITED_ACCOUNT, LIMITED_ACCOUNT_JOBS
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.installation import PublicInstallation
from tests.workshop.launching import (
    POINTS,
    TIMED_OUT,
    TRACES,
    WHEN_CANCELLING,
    dies_at,
    points_folder,
    traces,
    waiting_for,
)
from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio


def restart(site: SudoSite) -> None:
    site.stack.restarted("executor", site.stack.kill("executor"))
    site.stack.ready()


async def test_a_job_is_one_sbatch_and_no_unit_needs_srun_or_sudo(sudo_site: SudoSite) -> None:
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    await sudo_site.run(ada, ["true"])  # the pipes are open
    cluster.commands.forget()
    job = await sudo_site.run(ada, TRACES, 40)
    assert (job.state, len(await sudo_site.batches(job.id))) == ("succeeded", 4)
    assert len(cluster.commands.calls("sbatch")) == 1
    assert cluster.commands.calls("srun") == []
    assert cluster.commands.calls("sudo") == []


async def test_a_launch_that_never_took_place_is_made_again(sudo_site: SudoSite) -> None:
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    once = cluster.folder / "sbatch-failed-once"
    real = cluster.commands.real_program("sbatch")
    script = (
        f'#!/bin/sh\nif [ "$1" != --version ] && mkdir {once} 2>/dev/null; then {TIMED_OUT}; fi\nexec {real} "$@"\n'
    )
    cluster.folder.chmod(0o777)  # the scientist leaves the mark
    try:
        with cluster.commands.answer("sbatch", script):
            job = await sudo_site.submit(ada, TRACES, 2)
            await waiting_for(sudo_site, job, "did not say whether it took the job")
            final = await sudo_site.until(job.id)
    finally:
        cluster.folder.chmod(0o755)
        shutil.rmtree(once)
    assert final.state == "succeeded"
    assert traces(sudo_site, job) == Counter({"trace-0": 1, "trace-1": 1})


async def test_a_limit_that_is_reached_is_waited_for(sudo_site: SudoSite) -> None:
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    blockers = [
        cluster.submit("exec sleep 1000", f"--account={LIMITED_ACCOUNT}", user=ada)
        for _ in range(LIMITED_ACCOUNT_JOBS)
    ]
    job = await sudo_site.submit(ada, TRACES, account=LIMITED_ACCOUNT)
    await waiting_for(sudo_site, job, "takes no more jobs at the moment")
    await asyncio.to_thread(cluster.administer, "scancel", *blockers)
    assert (await sudo_site.until(job.id)).state == "succeeded"
    assert traces(sudo_site, job) == Counter({"trace-0": 1})


async def test_arrays_are_split_and_throttled(sudo_site: SudoSite) -> None:
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    batching = {"target_num_jobs": 7, "max_num_jobs": 7}
    profile = await sudo_site.profile_on(ada, jobs_runner_config={"batching_config": batching, "max_running_jobs": 2})
    cluster.commands.forget()
    with cluster.settings(restart=True, MaxArraySize=3):
        restart(sudo_site)  # it remembers MaxArraySize
        job = await sudo_site.submit(ada, TRACES, 7, profile_id=profile)
        assert (await sudo_site.until(job.id)).state == "succeeded"
    restart(sudo_site)
    arrays = [
        argument
        for call in cluster.commands.calls("sbatch")
        for argument in call.arguments
        if argument.startswith("--array=")
    ]
    assert arrays == ["--array=0-2%2", "--array=0-2%2", "--array=0%2"]
    assert traces(sudo_site, job) == Counter({f"trace-{n}": 1 for n in range(7)})


async def test_a_cluster_that_takes_no_arrays_gets_a_job_for_each_batch(sudo_site: SudoSite) -> None:
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    batching = {"target_num_jobs": 3, "max_num_jobs": 3}
    profile = await sudo_site.profile_on(ada, jobs_runner_config={"batching_config": batching})
    with cluster.settings(restart=True, MaxArraySize=0):
        restart(sudo_site)  # it remembers MaxArraySize
        job = await sudo_site.run(ada, TRACES, 3, profile_id=profile)
        failed = await sudo_site.run(ada, ["true"], profile_id=profile, worker_init="echo no such module; exit 3")
    restart(sudo_site)
    assert job.state == "succeeded"
    assert traces(sudo_site, job) == Counter({f"trace-{n}": 1 for n in range(3)})
    assert all((batch.native_id or "").isdigit() for batch in await sudo_site.batches(job.id))
    (batch,) = await sudo_site.batches(failed.id)
    assert batch.reason is not None
    assert "no such module" in batch.reason.log_tail


@pytest.fixture(scope="module")
def _failing_site(_slurm_cluster: SlurmCluster, public_installation: PublicInstallation) -> Iterator[SudoSite]:
    """Services that die where a test wants it."""
    points = points_folder(_slurm_cluster, "points")
    site = SudoSite(_slurm_cluster, public_installation, {"STOKER_FAILPOINTS": str(points)})
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def failing_site(request: pytest.FixtureRequest, _failing_site: SudoSite) -> SudoSite:
    request.getfixturevalue("slurm_cluster")  # tidy before and after
    _failing_site.allow()  # the rule is one per cluster, and names one agent
    return _failing_site


@pytest.mark.parametrize("point", [one for one in POINTS if one != WHEN_CANCELLING])
async def test_every_unit_runs_once_although_the_executor_dies(failing_site: SudoSite, point: str) -> None:
    died = await dies_at(failing_site, failing_site.cluster.folder / "points", [point])
    job = await failing_site.submit(failing_site.cluster.users.ada, TRACES, 3)
    await died()
    assert (await failing_site.until(job.id)).state == "succeeded", failing_site.stack.logs()
    assert traces(failing_site, job) == Counter({f"trace-{n}": 1 for n in range(3)})


async def test_a_job_is_cancelled_although_the_executor_dies(failing_site: SudoSite) -> None:
    job = await failing_site.submit(failing_site.cluster.users.ada, ["sleep", "1000"], 2)
    await failing_site.until(job.id, "running")
    died = await dies_at(failing_site, failing_site.cluster.folder / "points", [WHEN_CANCELLING])
    async with failing_site.stack.executor() as executor:
        await executor.cancel(job.id)
    await died()
    final = await failing_site.until(job.id)
    assert (final.state, final.counts.cancelled) == ("cancelled", 2)
