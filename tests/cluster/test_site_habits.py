"""What sites set up, either way to the cluster: partitions that are hidden or closed, limits on queued jobs."""

import pytest

from tests.servers.slurm.accounts import STRICT_QOS
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
