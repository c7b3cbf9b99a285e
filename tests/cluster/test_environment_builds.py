"""Builds that the resource's configuration sends into SLURM: what they make, how they end, and what they leave."""

import asyncio
import secrets
from pathlib import Path

import pytest

from stoker.clients.executor import ExecutorClient
from stoker.contracts.environments import Environment, EnvironmentFromPixi, EnvironmentFromPypi
from tests.servers.slurm.installation import PublicInstallation, public_python
from tests.waiting import until
from tests.workshop.cluster_builds import Place, created, place_on, seen_by_task, settled, waiting_for
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.pixi_projects import PixiProjects

pytestmark = pytest.mark.anyio

SLURM = {"partition": "main", "cpus": 2, "mem": "300M", "time": "00:05:00"}


@pytest.fixture
async def projects(site: ClusterStackSite, public_installation: PublicInstallation) -> PixiProjects:
    """What everybody on the cluster can make environments of."""
    folder = site.folder / f"pixi-{secrets.token_hex(4)}"
    return await asyncio.to_thread(
        PixiProjects, folder, program=public_installation.python, interpreter=Path(public_python())
    )


def of_archive(place: Place, archive: Path, **more: str) -> EnvironmentFromPixi:
    return EnvironmentFromPixi(
        profile_id=place.profile_id, file_name=archive.name, content=archive.read_bytes(), **more
    )


def slurm_job_of(site: ClusterStackSite, place: Place, environment: Environment, state: str) -> dict[str, str]:
    """What SLURM knows of the job that the latest activity was, once it is in this state."""
    assert environment.activity is not None
    [script] = place.jobs.glob(f"*/{environment.activity.id}/launches/*.sh")
    named = ("squeue", "--noheader", "--states=all", "--format=%A", f"--name={script.stem}")
    return site.cluster.wait_for_job(site.cluster.administer(*named).stdout.strip(), state)


async def test_a_pixi_project_is_installed_by_a_job_in_slurm_and_used_by_scientists(
    site: ClusterStackSite, projects: PixiProjects
) -> None:
    preamble = ["#SBATCH --constraint=slow", "echo the preamble runs"]
    config = projects.config(SLURM_CONFIG=SLURM | {"preamble": preamble})
    place = await place_on(site, tasks_pixi_config=config)
    async with site.stack.executor() as executor:
        made = await executor.create_environment(of_archive(place, projects.archive()))
        ready = await settled(site, made.id)
        assert (ready.state, ready.installer) == ("ready", "pixi"), (ready, site.stack.logs())
        assert Path(ready.folder or "").owner() == place.maker.name
        job = slurm_job_of(site, place, ready, "COMPLETED")
        assert job["UserId"].startswith(f"{place.maker.name}(")
        assert (job["Partition"], job["NodeList"]) == ("main", "n2")
        assert (job["NumCPUs"], job["TimeLimit"], job["MinMemoryNode"]) == ("2", "00:05:00", "300M")
        assert ready.activity is not None
        [said] = place.jobs.glob(f"*/{ready.activity.id}/slurm/*.log")
        assert "the preamble runs" in said.read_text()
        assert await seen_by_task(site, place.profile_id, ready) == "/data/a"
        before = await executor.freeze(ready.id)
        await asyncio.to_thread(projects.publish_needs, "2.0")
        await executor.deactivate_environment(ready.id)
        inactive = await settled(site, ready.id)
        assert inactive.state == "inactive"
        assert inactive.activity is not None
        # Removing takes no time: nobody waits in a queue for it.
        assert list(place.jobs.glob(f"*/{inactive.activity.id}/launches/*")) == []
        await executor.reactivate_environment(ready.id)
        again = await settled(site, ready.id)
        assert again.state == "ready", again
        assert slurm_job_of(site, place, again, "COMPLETED")["Partition"] == "main"
        assert await executor.freeze(ready.id) == before
        assert before.lock is not None


@pytest.mark.parametrize("site", ["ssh"], indirect=True)
async def test_a_build_in_slurm_that_is_cancelled_leaves_nothing_and_a_new_request_works(
    site: ClusterStackSite, projects: PixiProjects
) -> None:
    control = site.folder / f"control-{secrets.token_hex(4)}"
    projects.add_slow_version(control)
    place = await place_on(site, tasks_pixi_config=projects.slow_config(SLURM_CONFIG=SLURM))
    wanted = of_archive(place, projects.archive())
    async with site.stack.executor() as executor:
        made = await executor.create_environment(wanted)
        job = await begun(site, executor, place, made, control)
        assert made.activity is not None
        await executor.cancel_activity(made.activity.id)
        cancelled = await settled(site, made.id)
        assert (cancelled.state, cancelled.activity and cancelled.activity.state) == ("failed", "cancelled")
        await asyncio.to_thread(site.cluster.wait_for_job, job["JobId"], "CANCELLED", "COMPLETED", "FAILED")
        assert place.left() == []
        (control / "go-on").touch()
        again = await settled(site, (await executor.create_environment(wanted)).id)
        assert again.state == "ready", again


@pytest.mark.parametrize("site", ["sudo"], indirect=True)
async def test_a_build_that_waits_in_the_queue_says_why_and_is_cancelled_there(
    site: ClusterStackSite, projects: PixiProjects
) -> None:
    control = site.folder / f"control-{secrets.token_hex(4)}"
    name = f"slow-beside-{site.kind}"
    site.index.add_slow(control, name)
    control.chmod(0o777)
    later = SLURM | {"preamble": ["#SBATCH --begin=now+1hour"]}
    place = await place_on(site, tasks_pixi_config=projects.config(SLURM_CONFIG=later))
    # One beside the agent and one in SLURM: neither is looked after in the other's way.
    beside = await created(site, EnvironmentFromPypi(profile_id=place.profile_id, package=name))
    await until((control / "begun").exists, "the build beside the agent")
    queued = await created(site, of_archive(place, projects.archive()))
    await waiting_for(site, queued.id, "not to be started yet")
    job = slurm_job_of(site, place, queued, "PENDING")
    assert job["Reason"] == "BeginTime"
    assert queued.activity is not None
    async with site.stack.executor() as executor:
        await executor.cancel_activity(queued.activity.id)
    cancelled = await settled(site, queued.id)
    assert (cancelled.state, cancelled.activity and cancelled.activity.state) == ("failed", "cancelled")
    await asyncio.to_thread(site.cluster.wait_for_job, job["JobId"], "CANCELLED")
    (control / "go-on").touch()
    assert (await settled(site, beside.id)).state == "ready"
    assert {path.partition("/")[0] for path in place.left()} == {name}


@pytest.mark.parametrize("site", ["sudo"], indirect=True)
async def test_a_build_in_slurm_does_not_notice_that_the_executor_is_killed(
    site: ClusterStackSite, projects: PixiProjects
) -> None:
    control = site.folder / f"control-{secrets.token_hex(4)}"
    projects.add_slow_version(control)
    place = await place_on(site, tasks_pixi_config=projects.slow_config(SLURM_CONFIG=SLURM))
    made = await created(site, of_archive(place, projects.archive()))
    await until((control / "begun").exists, "the build")
    await asyncio.to_thread(site.stack.restarted, "executor", site.stack.kill("executor"))
    await asyncio.to_thread(site.stack.ready)
    (control / "go-on").touch()
    ready = await settled(site, made.id)
    assert (ready.state, ready.reason) == ("ready", None), ready
    # By the job that was there before: it is the only one.
    assert slurm_job_of(site, place, ready, "COMPLETED")["Partition"] == "main"


@pytest.mark.parametrize("site", ["ssh"], indirect=True)
async def test_a_build_in_slurm_that_takes_too_long_fails_with_that_reason_and_leaves_nothing(
    site: ClusterStackSite, projects: PixiProjects
) -> None:
    control = site.folder / f"control-{secrets.token_hex(4)}"
    projects.add_slow_version(control)
    place = await place_on(site, tasks_pixi_config=projects.slow_config(SLURM_CONFIG=SLURM))
    async with site.stack.executor() as executor:
        made = await executor.create_environment(of_archive(place, projects.archive()))
        job = await begun(site, executor, place, made, control)
        await asyncio.to_thread(site.cluster.end_by_time_limit, job["JobId"])
        late = await settled(site, made.id)
    assert (late.state, late.reason and late.reason.code) == ("failed", "time_limit"), late
    assert place.left() == []


async def begun(
    site: ClusterStackSite, executor: ExecutorClient, place: Place, made: Environment, control: Path
) -> dict[str, str]:
    """Wait until pixi is at work, and its log says so; what SLURM says of the job then."""
    await until((control / "begun").exists, "the build")
    (control / "begun").unlink()
    assert made.activity is not None
    said = ""
    stream = executor.activity_log(made.activity.id, follow=True)
    try:
        async for part in stream:
            said += part.decode()
            if "the solver waits" in said:
                break
    finally:
        await stream.aclose()
    shown = await executor.environment(made.id)
    assert shown.activity is not None
    return slurm_job_of(site, place, shown, "RUNNING")


@pytest.mark.parametrize("site", ["ssh"], indirect=True)
async def test_packages_of_the_index_are_installed_in_slurm_where_the_configuration_says_so(
    site: ClusterStackSite,
) -> None:
    name = f"{site.kind}-slurm-tasks"
    site.index.add_tasks(name, "1.0")
    config = {"partition": "main", "cpus": 2, "mem_per_cpu": "150M", "time": "5"}
    place = await place_on(site, tasks_python_config={"SLURM_CONFIG": config})
    wanted = EnvironmentFromPypi(profile_id=place.profile_id, package=name)
    ready = await settled(site, (await created(site, wanted)).id)
    assert ready.state == "ready", (ready, site.stack.logs())
    job = slurm_job_of(site, place, ready, "COMPLETED")
    assert (job["NumCPUs"], job["MinMemoryCPU"]) == ("2", "150M")
    assert await seen_by_task(site, place.profile_id, ready) == "/data/a"
