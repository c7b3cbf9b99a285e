"""What sites set up, either way to the cluster: partitions that are hidden or closed, limits on queued jobs."""

from collections import Counter

import pytest

from tests.servers.slurm.accounts import FEW_QOS, STRICT_QOS
from tests.servers.slurm.configuration import LICENCE
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.launching import TRACES, once_each, traces, waiting_for

pytestmark = pytest.mark.anyio


async def test_a_job_in_a_partition_that_is_hidden_and_closed_to_the_services_is_seen(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    config = {"default_slurm_config": {"partition": "hidden"}}
    profile = await site.profile_on(ada, jobs_runner_config=config)

    def change(setting: str) -> None:
        cluster.administer("scontrol", "update", "PartitionName=hidden", setting)

    change(f"AllowGroups={cluster.users.group}")
    change("State=DOWN")
    try:
        async with site.stack.executor() as executor:
            report = await executor.check(profile)
        assert {one.name: one.detail for one in report.findings if one.level != "ok"} == {
            "partition": "hidden is not up"
        }
        job = await site.submit(ada, TRACES, profile_id=profile)
        # Only the queue, which would otherwise not show it, can tell.
        await waiting_for(site, job, "its partition is down")
    finally:
        change("State=UP")
    assert (await site.until(job.id)).state == "succeeded"
    assert traces(site, job) == once_each(1)


async def test_what_a_qos_can_never_admit_is_refused_in_words(site: ClusterStackSite) -> None:
    line = f"#SBATCH --qos={STRICT_QOS}"
    job = await site.run(site.cluster.users.ada, TRACES, extra_lines=[line])
    (unit,) = await site.units(job.id)
    assert unit.reason is not None
    assert (job.state, unit.reason.code) == ("failed", "launch_failed")
    assert "it asks for more than the QOS allows: memory per user (QOSMaxMemoryPerUser" in unit.reason.text


async def test_more_batches_than_may_be_queued_are_submitted_as_room_comes(site: ClusterStackSite) -> None:
    ada = site.cluster.users.ada
    batching = {"target_num_jobs": 8, "max_num_jobs": 8}
    profile = await site.profile_on(ada, jobs_runner_config={"batching_config": batching})
    job = await site.run(ada, TRACES, 8, profile_id=profile, extra_lines=[f"#SBATCH --qos={FEW_QOS}"])
    assert job.state == "succeeded"
    assert traces(site, job) == once_each(8)
    native_ids = [batch.native_id or "" for batch in await site.batches(job.id)]
    assert len(set(native_ids)) == 8
    # What was refused meanwhile has left nothing.
    left = Counter(path.stem for path in (site.job_folder(ada, job) / "launches").iterdir())
    assert set(left.values()) == {5}
    assert len(left) == len({native_id.partition("_")[0] for native_id in native_ids})


async def test_licences_of_a_unit_are_asked_for_as_often_as_units_run_at_once(site: ClusterStackSite) -> None:
    cluster, ada = site.cluster, site.cluster.users.ada
    batching = {"target_cpus_per_job": 2, "max_cpus_per_job": 2, "target_num_jobs": 1, "max_num_jobs": 1}
    profile = await site.profile_on(ada, jobs_runner_config={"batching_config": batching})
    script = "touch here-{unit}; until [ -e here-0 ] && [ -e here-1 ]; do sleep 0.1; done"
    line = f"#SBATCH --licenses={LICENCE}:2"
    job = await site.run(ada, ["sh", "-c", script], 2, profile_id=profile, extra_lines=[line])
    assert job.state == "succeeded"
    (batch,) = await site.batches(job.id)
    assert cluster.job(str(batch.native_id))["Licenses"] == f"{LICENCE}:4"
