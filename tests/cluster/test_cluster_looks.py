"""Looking at a real cluster through a real agent: what is there, and what a failed look says."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.pipes import AgentConnection
from shared.pipes.cluster import AccountingNotKept, look_at_accounting, look_at_cluster, look_at_queue
from shared.remote.agent.verbs.scheduler import ASSOCIATIONS_SECONDS
from shared.slurm.answers.digests import ABSENT, digest_of, digest_state, digests_of, is_over
from stoker.errors import Unavailable
from tests.servers.slurm.accounts import LIMITED_ACCOUNT
from tests.servers.slurm.cluster import SlurmCluster
from tests.waiting import until
from tests.workshop.launching import TIMED_OUT
from tests.workshop.slurm_site import ClusterSite, site_of, start_agent

pytestmark = pytest.mark.anyio


@pytest.fixture
async def site(slurm_cluster: SlurmCluster) -> AsyncIterator[ClusterSite]:
    async with site_of(slurm_cluster, slurm_cluster.users.ada) as made:
        yield made


@pytest.fixture
async def bare_site(bare_cluster: SlurmCluster) -> AsyncIterator[ClusterSite]:
    async with site_of(bare_cluster, bare_cluster.users.ada) as made:
        yield made


async def test_a_queue_of_several_users_is_one_squeue(site: ClusterSite) -> None:
    ada, grace = site.cluster.users.scientists
    jobs = {site.cluster.submit("exec sleep 100", user=user): user for user in (ada, grace)}
    site.cluster.commands.forget()
    queue = await look_at_queue(site.agent)
    assert {str(row.id.job): row.user for row in queue.rows if str(row.id.job) in jobs} == {
        job: user.name for job, user in jobs.items()
    }
    assert [call.program for call in site.cluster.commands.calls()] == ["squeue"]


async def test_a_controller_that_is_away_is_no_answer_in_plain_words(site: ClusterSite) -> None:
    site.cluster.daemons.controller.stop()
    with site.cluster.impatient():
        with pytest.raises(Unavailable, match="SLURM's controller cannot be reached"):
            await look_at_queue(site.agent)
        with pytest.raises(Unavailable, match="SLURM's controller cannot be reached"):
            await look_at_cluster(site.agent)
    site.cluster.start_controller()
    assert (await look_at_queue(site.agent)).whole


async def test_missing_commands_are_no_answer_either(site: ClusterSite) -> None:
    with (
        site.cluster.commands.answer("squeue", "#!/nowhere/sh\n"),
        pytest.raises(Unavailable, match="squeue"),
    ):
        await look_at_queue(site.agent)


async def test_the_cluster_that_the_resource_names_is_asked_whatever_the_host_would_find(
    slurm_cluster: SlurmCluster, bare_cluster: SlurmCluster
) -> None:
    """Two clusters on one host: the agent's own PATH leads to the other one."""
    seen = {}
    for name, slurm in (
        ("own", {}),
        ("named", {"commands_dir": "/usr/bin", "conf": str(bare_cluster.configuration)}),
    ):
        file = slurm_cluster.folder / "agent.py"
        pipe = await start_agent(slurm_cluster.users.ada, file, slurm_cluster.commands.path)
        agent = await AgentConnection.open(pipe, {"jobs": "~/jobs"}, slurm=slurm)
        try:
            seen[name] = (await look_at_cluster(agent)).config.name
        finally:
            await agent.close()
    assert seen == {"own": slurm_cluster.name, "named": bare_cluster.name}


async def test_a_site_that_keeps_scontrol_from_users_is_taken_to_have_slurms_defaults(site: ClusterSite) -> None:
    refuses = "#!/bin/sh\necho 'scontrol: not for users of this site' >&2\nexit 1\n"
    for script in (refuses, "#!/nowhere/sh\n"):
        with site.cluster.commands.answer("scontrol", script):
            state = await look_at_cluster(site.agent)
        assert state.config_error
        assert (state.config.max_array_size, state.config.accounting, state.partitions) == (1001, True, [])
        assert state.associations
    away = f"#!/bin/sh\n{TIMED_OUT}\n"
    with site.cluster.commands.answer("scontrol", away), pytest.raises(Unavailable):
        await look_at_cluster(site.agent)


async def test_accounts_tell_of_a_job_by_its_name_and_by_its_number(site: ClusterSite) -> None:
    job = site.cluster.submit("exit 3", "--job-name=stoker-look", user=site.user)
    since = time.time() - 600

    async def recorded(**which: Any) -> bool:
        # The end of a short job may be recorded a moment before its name and its times are.
        return [row.state.word for row in (await look_at_accounting(site.agent, since=since, **which)).rows] == [
            "FAILED"
        ]

    await until(lambda: recorded(names=["stoker-look"]), "it is found by its name")
    await until(lambda: recorded(job_ids=[int(job)]), "it is found by its number")
    (row,) = (await look_at_accounting(site.agent, since=since, names=["stoker-look"])).of(job)
    assert (row.uid, row.exit_code, row.name) == (site.user.uid, 3, "stoker-look")
    assert not (await look_at_accounting(site.agent, since=since, names=["another"])).rows


async def test_accounting_that_is_away_is_told_apart_from_none_at_all(
    site: ClusterSite, bare_site: ClusterSite
) -> None:
    accounting = site.cluster.daemons.accounting
    assert accounting is not None
    accounting.process.stop()
    with pytest.raises(Unavailable, match="SLURM's accounting cannot be reached"):
        await look_at_accounting(site.agent, since=time.time() - 60)
    state = await look_at_cluster(site.agent)
    assert state.config.accounting
    assert state.associations is None
    assert state.associations_error.startswith("SLURM's accounting cannot be reached")
    with pytest.raises(AccountingNotKept):
        await look_at_accounting(bare_site.agent, since=time.time() - 60)
    bare = await look_at_cluster(bare_site.agent)
    assert (bare.config.accounting, bare.associations, bare.associations_error) == (False, None, "")


async def test_accounting_that_hangs_does_not_keep_the_rest_from_being_told(site: ClusterSite) -> None:
    accounting = site.cluster.daemons.accounting
    assert accounting is not None
    accounting.process.stall()
    try:
        state = await look_at_cluster(site.agent)
    finally:
        accounting.process.wake()
    assert {"main", "gpu"} <= {partition.name for partition in state.partitions}
    # It was given up before the whole look would have been.
    assert f"had not ended after {ASSOCIATIONS_SECONDS} seconds" in state.associations_error


async def test_a_cluster_says_what_it_is_like_for_its_user(site: ClusterSite) -> None:
    state = await look_at_cluster(site.agent)
    assert state.version.startswith("slurm")
    assert state.config.name == site.cluster.name
    assert {"main", "gpu"} <= {partition.name for partition in state.partitions}
    assert state.associations is not None
    limits = {one.account: one.max_submit_jobs for one in state.associations}
    assert limits[LIMITED_ACCOUNT] == 2
    assert limits["science"] is None
    assert not state.hides_jobs
    with site.cluster.settings(PrivateData="jobs"):
        assert (await look_at_cluster(site.agent)).hides_jobs


async def test_a_digest_says_where_a_launch_stands_from_waiting_to_its_end(site: ClusterSite) -> None:
    """An array of which one task runs and the others wait, one by one cancelled and requeued."""
    cluster = site.cluster
    job = cluster.submit("exec sleep 100", "--array=0-2%1", "--requeue", user=site.user)

    async def states() -> dict[str, str]:
        digests = digests_of(await look_at_queue(site.agent), [f"{job}_{task}" for task in range(3)])
        return {name.rpartition("_")[2]: digest for name, digest in digests.items()}

    async def over(task: str) -> bool:
        return is_over((await states())[task])

    async def one_runs() -> bool:
        seen = await states()
        return [digest_state(seen[task]) for task in "012"] == ["RUNNING", "PENDING", "PENDING"]

    await until(one_runs, "one runs, two wait")
    seen = await states()
    assert "JobArrayTaskLimit" in seen["1"].split("|")[1]
    assert int(seen["0"].rpartition("|")[2]) <= time.time() + 1
    cluster.administer("scontrol", "requeue", f"{job}_0")

    async def waits_again() -> bool:
        return digest_state((await states())["0"]) == "PENDING"

    await until(waits_again, "it waits again")
    # SLURM may forget at once what is cancelled before it began.
    cluster.run("scancel", f"{job}_2", user=site.user)
    await until(lambda: over("2"), "the end of one that waited")

    async def next_runs() -> bool:
        return digest_state((await states())["1"]) == "RUNNING"

    await until(next_runs, "the next one runs")
    cluster.run("scancel", f"{job}_1", user=site.user)
    await until(lambda: over("1"), "the end of one that ran")
    assert (await states())["1"].startswith("CANCELLED|")
    assert not await over("0")
    cluster.run("scancel", job, user=site.user)


async def test_what_squeue_has_forgotten_is_absent(bare_site: ClusterSite) -> None:
    job = bare_site.cluster.submit("true", user=bare_site.user)

    async def forgotten() -> bool:
        return digest_of(await look_at_queue(bare_site.agent), job) == ABSENT

    await until(forgotten, "squeue forgets it")
