"""What a job on SLURM does whatever the way to the cluster: through sudo, and through SSH."""

import stat
from collections import Counter

import pytest

from stoker.contracts.jobs import JobSubmit
from stoker.contracts.needs import Needs
from tests.waiting import until
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.launching import TIMED_OUT, TRACES, traces

pytestmark = pytest.mark.anyio

WRITES = 'id -un > who-{unit}; echo "unit {unit} of $(id -un)"; echo \'{"n": {args.n}}\' > "{out_json}"'


async def test_the_users_own_configuration_runs_a_job_as_the_scientist(site: ClusterStackSite) -> None:
    ada = site.cluster.users.ada
    units = [{"n": n} for n in range(3)]
    job = await site.run(ada, ["sh", "-c", WRITES], units)
    assert (job.state, job.counts.succeeded) == ("succeeded", 3), (job, site.stack.logs())
    assert [unit.output for unit in await site.units(job.id)] == units
    assert await site.log(job.id, 2) == f"unit 2 of {ada.name}\n"
    folder = site.job_folder(ada, job)
    assert {path.stat().st_uid for path in folder.rglob("*")} == {ada.uid}
    assert [(folder / f"work/who-{n}").read_text() for n in range(3)] == [f"{ada.name}\n"] * 3
    assert stat.S_IMODE(ada.home.stat().st_mode) == 0o700
    assert folder.stat().st_uid == ada.uid
    for batch in await site.batches(job.id):
        assert batch.native_id is not None
        assert batch.host
        assert site.cluster.job(batch.native_id)["UserId"].startswith(f"{ada.name}(")


@pytest.mark.parametrize("site", ["sudo"], indirect=True)
async def test_a_plan_shows_batches_script_and_what_cannot_fit_and_submits_nothing(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    cluster.commands.forget()
    request = JobSubmit(
        profile_id=site.profile(ada),
        command=["true"],
        units=[{}] * 12,
        unit_time="10",
        needs=Needs(time="15"),
    )
    async with site.stack.executor() as executor:
        plan = await executor.plan(request)
    # One CPU a job, two jobs aimed at and four at most: three units queue in each of four.
    assert [(batch.first, batch.unit_count, batch.parallel) for batch in plan.batches] == [
        (0, 3, 1),
        (3, 3, 1),
        (6, 3, 1),
        (9, 3, 1),
    ]
    assert plan.script is not None
    assert "#SBATCH --partition=main" in plan.script.splitlines()
    assert str(site.jobs_root(ada)) in plan.script
    assert any("a batch may need 0-00:30:00" in warning for warning in plan.warnings), plan.warnings
    assert cluster.commands.calls("sbatch") == []


@pytest.mark.parametrize("site", ["ssh"], indirect=True)
async def test_progress_is_seen_while_a_batch_runs(site: ClusterStackSite) -> None:
    ada = site.cluster.users.ada
    batching = {"target_num_jobs": 1, "max_num_jobs": 1}
    profile = await site.profile_on(ada, jobs_runner_config={"batching_config": batching})
    script = "[ {unit} = 0 ] || while [ ! -e go ]; do sleep 0.1; done"
    job = await site.submit(ada, ["sh", "-c", script], 2, profile_id=profile)
    await site.until(job.id, "running")

    async def first_is_done() -> bool:
        (batch,) = await site.batches(job.id)
        return (batch.state, batch.counts.succeeded, batch.counts.running) == ("running", 1, 1)

    await until(first_is_done, "the first unit's end is seen while the second runs")
    (site.job_folder(ada, job) / "work/go").touch()
    assert (await site.until(job.id)).state == "succeeded"


@pytest.mark.parametrize("site", ["ssh"], indirect=True)
async def test_a_queued_job_says_why_it_waits_and_when_it_may_start(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    cluster.administer("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        job = await site.submit(ada, ["true"])

        async def told() -> bool:
            async with site.stack.executor() as executor:
                return "partition" in ((await executor.job(job.id)).waiting_for or "")

        await until(told, "the job says that its partition is down")
        (batch,) = await site.batches(job.id)
        assert (batch.state, "partition" in (batch.waiting_for or "")) == ("queued", True)
    finally:
        cluster.administer("scontrol", "update", "PartitionName=main", "State=UP")
    final = await site.until(job.id)
    assert (final.state, final.waiting_for) == ("succeeded", None)


@pytest.mark.parametrize("site", ["sudo"], indirect=True)
async def test_an_answer_that_is_lost_leaves_one_job_that_is_found_again(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    real = cluster.commands.real_program("sbatch")
    lost = f'#!/bin/sh\n{real} "$@" > /dev/null\n{TIMED_OUT}\n'
    cluster.commands.forget()
    with cluster.commands.answer("sbatch", lost):
        job = await site.submit(ada, TRACES, 4)
        await until(lambda: bool(cluster.commands.calls("sbatch")), "sbatch was called")
        final = await site.until(job.id)
    assert final.state == "succeeded", final
    assert len(cluster.commands.calls("sbatch")) == 1
    assert traces(site, job) == Counter({f"trace-{n}": 1 for n in range(4)})


@pytest.mark.parametrize("site", ["ssh"], indirect=True)
async def test_a_refusal_says_why(site: ClusterStackSite) -> None:
    ada = site.cluster.users.ada
    job = await site.run(ada, TRACES, account="nobodys")
    (unit,) = await site.units(job.id)
    assert unit.reason is not None
    assert (job.state, unit.state, unit.reason.code) == ("failed", "failed", "launch_failed")
    assert "Invalid account" in unit.reason.text


@pytest.mark.parametrize("site", ["sudo"], indirect=True)
async def test_only_failed_units_run_again_in_batches_of_their_own(site: ClusterStackSite) -> None:
    ada = site.cluster.users.ada
    script = "echo run >> ran-{unit}; [ {unit} != 1 ] || [ $(wc -l < ran-{unit}) = 3 ]"
    job = await site.run(ada, ["sh", "-c", script], 3, retries={"count": 2, "on": ["exit_code"]})
    assert job.state == "succeeded"
    units = await site.units(job.id)
    assert [unit.attempt for unit in units] == [1, 3, 1]
    folder = site.job_folder(ada, job) / "work"
    assert [(folder / f"ran-{n}").read_text().count("run") for n in range(3)] == [1, 3, 1]
    async with site.stack.executor() as executor:
        kept = await executor.attempts(job.id, 1)
        assert await executor.attempts(job.id, 0) == []
    assert [(one.attempt, one.state, one.exit_code) for one in kept] == [(1, "failed", 1), (2, "failed", 1)]
    batches = await site.batches(job.id)
    assert [batch.unit_count for batch in batches[-2:]] == [1, 1]


async def test_cancelling_ends_what_runs_and_lets_nothing_start(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    stubborn = ["sh", "-c", "trap '' TERM; touch started-{unit}; while :; do sleep 0.1; done"]
    config = {"max_running_jobs": 1, "batching_config": {"target_num_jobs": 3, "max_num_jobs": 3}}
    profile = await site.profile_on(ada, jobs_runner_config=config)
    job = await site.submit(ada, stubborn, 3, profile_id=profile)
    folder = site.job_folder(ada, job) / "work"
    await until((folder / "started-0").exists, "the first unit has started")
    cluster.commands.forget()
    async with site.stack.executor() as executor:
        await executor.cancel(job.id)
    final = await site.until(job.id)
    assert (final.state, final.counts.cancelled) == ("cancelled", 3)
    assert sorted(path.name for path in folder.glob("started-*")) == ["started-0"]
    assert (
        len(cluster.commands.calls("scancel")) <= 2
    )  # once for all, and once more should the first not have sufficed
    native_ids = [batch.native_id for batch in await site.batches(job.id)]
    await until(
        lambda: (
            not cluster.administer("squeue", "-h", "-r", "-o", "%F", "-j", str(native_ids[0]), check=False).stdout
        ),
        "nothing of it is left in the queue",
        seconds=60,
    )
