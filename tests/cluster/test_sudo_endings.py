"""Why jobs on a real SLURM end: each row of the table of verdicts that can be provoked here.

Provoked with recorded answers instead (tests/pure/test_slurm_verdicts.py): OUT_OF_MEMORY as a state of its own, state
words never heard of, recycled ids, answers of other clusters.
"""

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from stoker.contracts.jobs import Batch, Job, Unit
from tests.servers.slurm.users import UnixUser
from tests.waiting import until
from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio

SLEEPS = ["sh", "-c", "touch started-{unit}; exec sleep 1000"]
ONE_JOB = {"target_num_jobs": 1, "max_num_jobs": 1}


async def running(
    site: SudoSite, user: UnixUser, command: list[str], units: int = 1, **more: Any
) -> tuple[Job, Batch]:
    """A job whose first unit has started, and its only batch."""
    job = await site.submit(user, command, units, **more)
    await site.until(job.id, "running")
    folder = site.job_folder(user, job) / "work"
    await until((folder / "started-0").exists, "the first unit has started")
    (batch,) = await site.batches(job.id)
    return job, batch


async def outcome(site: SudoSite, job: Job) -> tuple[Job, Batch, Unit]:
    job = await site.until(job.id)
    return job, (await site.batches(job.id))[0], (await site.units(job.id))[0]


async def administer(site: SudoSite, *command: str) -> None:
    await asyncio.to_thread(site.cluster.administer, *command)


async def test_a_batch_that_an_administrator_cancels_says_by_whom(sudo_site: SudoSite) -> None:
    job, batch = await running(sudo_site, sudo_site.cluster.users.ada, SLEEPS)
    await administer(sudo_site, "scancel", str(batch.native_id))
    job, batch, unit = await outcome(sudo_site, job)
    assert unit.reason is not None
    assert (job.state, batch.state, unit.state, unit.reason.code) == ("cancelled", "ended", "cancelled", "cancelled")
    assert "by an administrator (root)" in unit.reason.text


async def test_a_batch_that_its_user_cancels_behind_our_back_says_so_too(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    job, batch = await running(sudo_site, ada, SLEEPS)
    await asyncio.to_thread(sudo_site.cluster.run, "scancel", str(batch.native_id), user=ada)
    job, batch, unit = await outcome(sudo_site, job)
    assert unit.reason is not None
    assert (unit.reason.code, ada.name in unit.reason.text) == ("cancelled", True)


async def test_the_time_limit_is_told_from_a_cancellation(sudo_site: SudoSite) -> None:
    job, batch = await running(sudo_site, sudo_site.cluster.users.ada, SLEEPS)
    await asyncio.to_thread(sudo_site.cluster.end_by_time_limit, str(batch.native_id))
    job, batch, unit = await outcome(sudo_site, job)
    assert unit.reason is not None
    assert (job.state, unit.state, unit.reason.code) == ("failed", "failed", "time_limit")


async def test_a_node_that_fails_loses_what_ran_there(sudo_site: SudoSite) -> None:
    job, _ = await running(sudo_site, sudo_site.cluster.users.ada, SLEEPS, needs={"nodelist": "n2"})
    try:
        await asyncio.to_thread(sudo_site.cluster.fail_node, "n2")
        job, _, unit = await outcome(sudo_site, job)
        assert unit.reason is not None
        assert (job.state, unit.state, unit.reason.code) == ("failed", "lost", "node_failure")
        assert "n2" in unit.reason.text
    finally:
        await asyncio.to_thread(sudo_site.cluster.resume_node, "n2")


async def preempted(site: SudoSite, partition: str, **more: Any) -> Job:
    """A job on a partition whose node an urgent job takes."""
    ada = site.cluster.users.ada
    config = {"default_slurm_config": {"partition": partition}, "batching_config": ONE_JOB}
    profile = await site.profile_on(ada, jobs_runner_config=config)
    job, _ = await running(site, ada, more.pop("command", SLEEPS), profile_id=profile, **more)
    script = "touch urgent; sleep 1"
    await asyncio.to_thread(
        site.cluster.submit, script, "--partition=urgent", "--exclusive", user=site.cluster.users.grace
    )
    return job


async def test_a_preempted_batch_says_so_and_is_not_repeated_unasked(sudo_site: SudoSite) -> None:
    for partition in ("cancelled", "requeued"):
        job, _, unit = await outcome(sudo_site, await preempted(sudo_site, partition))
        assert unit.reason is not None
        assert (job.state, unit.reason.code, unit.attempt) == ("failed", "preempted", 1), unit


async def test_a_requeued_batch_keeps_what_had_finished_and_runs_the_rest_again_where_that_is_allowed(
    sudo_site: SudoSite,
) -> None:
    command = ["sh", "-c", "echo run >> ran-{unit}; touch started-{unit}; [ {unit} = 0 ] || [ -e go ] || sleep 1000"]
    job = await preempted(sudo_site, "requeued", command=command, units=2, retries={"count": 2, "on": ["preempted"]})
    work = sudo_site.job_folder(sudo_site.cluster.users.ada, job) / "work"
    (work / "go").touch()
    final = await sudo_site.until(job.id)
    assert final.state == "succeeded", [unit.reason for unit in await sudo_site.units(job.id)]
    first, second = await sudo_site.units(job.id)
    assert (work / "ran-0").read_text() == "run\n"
    assert (work / "ran-1").read_text() == "run\n" * second.attempt
    assert (first.attempt, second.attempt in (1, 2)) == (1, True)


async def test_running_out_of_memory_is_recognised(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    eats = "touch started-0; exec python3 -c 'x = bytearray(400_000_000); import time; time.sleep(1000)'"
    job = await sudo_site.run(ada, ["sh", "-c", eats])
    (unit,) = await sudo_site.units(job.id)
    assert unit.reason is not None
    assert (job.state, unit.reason.code) == ("failed", "out_of_memory"), unit
    assert "100 MB" in unit.reason.text


async def test_a_runner_that_is_killed_loses_its_unit_and_says_so(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    job, _ = await running(sudo_site, ada, SLEEPS)
    claim = json.loads((sudo_site.job_folder(ada, job) / "batches/00000/claim").read_text())
    os.kill(claim["pid"], signal.SIGKILL)
    job, _, unit = await outcome(sudo_site, job)
    assert unit.reason is not None
    assert (job.state, unit.state, unit.reason.code) == ("failed", "lost", "runner_died"), unit


async def test_a_script_that_fails_before_the_runner_starts_says_what_it_printed(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    job = await sudo_site.run(ada, ["true"], worker_init="echo the licence server is away >&2; exit 5")
    (unit,) = await sudo_site.units(job.id)
    assert unit.reason is not None
    assert (job.state, unit.state, unit.reason.code) == ("failed", "failed", "launch_failed"), unit
    (batch,) = await sudo_site.batches(job.id)
    assert batch.reason is not None
    assert "the licence server is away" in batch.reason.log_tail


async def test_a_unit_that_reaches_its_own_limit_is_ended_and_the_others_go_on(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    profile = await sudo_site.profile_on(ada, jobs_runner_config={"batching_config": ONE_JOB})
    script = "trap '' TERM; [ {unit} = 1 ] || while :; do sleep 0.2; done"
    job = await sudo_site.run(ada, ["sh", "-c", script], 2, profile_id=profile, unit_time="0:02")
    slow, quick = await sudo_site.units(job.id)
    assert slow.reason is not None
    assert (slow.state, slow.reason.code, quick.state) == ("failed", "time_limit", "succeeded")


async def test_an_outage_of_the_controller_ends_nothing(sudo_site: SudoSite) -> None:
    cluster, ada = sudo_site.cluster, sudo_site.cluster.users.ada
    script = "touch started-{unit}; while [ ! -e go ]; do sleep 0.1; done"
    job, _ = await running(sudo_site, ada, ["sh", "-c", script])
    other, _ = await running(sudo_site, ada, SLEEPS)
    await asyncio.to_thread(cluster.daemons.controller.stop)
    try:

        async def known() -> bool:
            async with sudo_site.stack.poller() as poller:
                health = [one for one in await poller.resources_health() if one.resource_id == sudo_site.resource.id]
            return any(one.scheduler_error for one in health)

        await until(known, "the resource shows that SLURM does not answer")
        # One ends meanwhile by its own word, which needs no scheduler to be believed; the other goes on.
        (sudo_site.job_folder(ada, job) / "work/go").touch()
        assert (await sudo_site.until(job.id)).state == "succeeded"
        assert (await sudo_site.until(other.id, "running")).state == "running"
    finally:
        await asyncio.to_thread(cluster.start_controller)
    async with sudo_site.stack.executor() as executor:
        await executor.cancel(other.id)
    assert (await sudo_site.until(other.id)).state == "cancelled"


async def test_accounting_that_is_away_delays_the_reason_only(sudo_site: SudoSite) -> None:
    cluster = sudo_site.cluster
    job, batch = await running(sudo_site, cluster.users.ada, SLEEPS)
    accounting = cluster.daemons.accounting
    assert accounting is not None
    await asyncio.to_thread(accounting.stop)
    try:
        await administer(sudo_site, "scancel", str(batch.native_id))
        job, batch, unit = await outcome(sudo_site, job)
        assert unit.reason is not None
        assert (job.state, unit.reason.code) == ("cancelled", "cancelled")
    finally:
        await asyncio.to_thread(accounting.start)
