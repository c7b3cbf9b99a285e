"""Jobs through SSH: what is not the same as through sudo. The services have no SLURM and see no file of a job."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.remote.bundle import agent_source
from stoker.contracts.checks import Finding
from stoker.contracts.jobs import Job
from stoker.errors import Unavailable
from tests.servers.line import Line
from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.installation import OtherVersion, PublicInstallation
from tests.servers.slurm.users import UnixUser
from tests.waiting import until
from tests.workshop.cluster_stack import SYSTEM_PYTHON
from tests.workshop.launching import POINTS, TRACES, dies_at, once_each, points_folder, traces, waiting_for
from tests.workshop.ssh_site import SshSite

pytestmark = pytest.mark.anyio

WAITS = "echo once >> trace-{unit}; touch started-{unit}; while [ ! -e go ]; do sleep 0.1; done"


async def findings(site: SshSite, profile_id: str, **options: Any) -> dict[str, Finding]:
    async with site.stack.executor() as executor:
        report = await executor.check(profile_id, **options)
    assert report.usable == all(one.level != "error" for one in report.findings)
    return {one.name: one for one in report.findings}


async def test_a_check_tries_all_that_a_job_needs(ssh_site: SshSite) -> None:
    ada = ssh_site.cluster.users.ada
    found = await findings(ssh_site, ssh_site.profile(ada), test_job=True)
    assert {one.level for one in found.values()} == {"ok"}, found
    assert f"as {ada.name}" in found["agent"].detail
    assert {"clock", "jobs folder", "interpreter", "SLURM", "partition", "accounting", "test job"} <= found.keys()


async def test_a_check_says_which_key_an_unknown_host_shows_and_how_it_is_trusted(ssh_site: SshSite) -> None:
    ada = ssh_site.cluster.users.ada
    profile = await ssh_site.profile_on(ada, ssh_known_hosts="/dev/null")
    agent = (await findings(ssh_site, profile))["agent"]
    assert agent.level == "error"
    assert f"ssh-ed25519 {ssh_site.server.fingerprint()}" in agent.detail
    assert "stoker ssh-trust" in agent.mend


async def test_a_check_says_that_a_key_is_wrong_and_whose_file_it_is(ssh_site: SshSite) -> None:
    ada, grace = ssh_site.cluster.users.scientists
    (profile,) = await ssh_site.profiles_on(ada, profile={"ssh_key_path": str(ssh_site.key_path(grace))})
    agent = (await findings(ssh_site, profile))["agent"]
    assert agent.level == "error"
    assert f"does not let {ada.name} in with the key in {ssh_site.key_path(grace)}" in agent.detail
    assert "authorized_keys" in agent.mend
    job = await ssh_site.submit(ada, TRACES, profile_id=profile)
    await waiting_for(ssh_site, job, f"does not let {ada.name} in")
    async with ssh_site.stack.executor() as executor:
        await executor.cancel(job.id)


async def test_nothing_is_there_before_and_nothing_of_a_job_is_here(ssh_site: SshSite) -> None:
    """The agent and the runner were sent, and no file of the job lies where the services could read it."""
    ada = ssh_site.cluster.users.ada
    job = await ssh_site.run(ada, ["sh", "-c", "echo here; pwd"])
    folder = ssh_site.job_folder(ada, job)
    assert (await ssh_site.log(job.id)) == f"here\n{folder}/work\n"
    assert {path.stat().st_uid for path in (folder, *folder.rglob("*"))} == {ada.uid}
    assert (folder / "runner.py").is_file()
    assert list(ssh_site.service_user.home.rglob(job.folder)) == []


async def test_two_profiles_act_as_two_users_through_one_connection_each_for_each_service(ssh_site: SshSite) -> None:
    line = ssh_site.new_line()
    users = ssh_site.cluster.users.scientists
    profiles = await ssh_site.profiles_on(*users, port=line.port)
    marks = ["sh", "-c", "echo once >> trace-{unit}; id -un"]
    jobs = [
        await ssh_site.submit(user, marks, 4, profile_id=profile)
        for user, profile in zip(users, profiles, strict=True)
        for _ in range(2)
    ]
    for job, user in zip(jobs, [user for user in users for _ in range(2)], strict=True):
        assert (await ssh_site.until(job.id)).state == "succeeded"
        assert traces(ssh_site, job, user) == once_each(4)
        assert await ssh_site.log(job.id, 3) == f"{user.name}\n"
    # sshd lets no connection have a second channel.
    assert line.counts()["connections"] == 4


async def test_a_key_is_replaced_while_jobs_run(ssh_site: SshSite) -> None:
    ada = ssh_site.cluster.users.ada
    line = ssh_site.new_line()
    profile = await ssh_site.profile_on(ada, port=line.port)
    job = await ssh_site.submit(ada, ["sh", "-c", WAITS], 2, profile_id=profile)
    work = ssh_site.job_folder(ada, job) / "work"
    await until((work / "started-0").exists, "the job runs")
    ssh_site.server.admit(ada, ssh_site.new_key(ada))
    await connected_anew(ssh_site, line, job)
    async with ssh_site.stack.registry() as registry:
        moved = ssh_site.key_path(ada).rename(ssh_site.keys / "elsewhere")
        await registry.patch_profile(profile, {"ssh_key_path": str(moved)})
    try:
        await connected_anew(ssh_site, line, job)
        (work / "go").touch()
        assert (await ssh_site.until(job.id)).state == "succeeded"
    finally:
        moved.rename(ssh_site.key_path(ada))
    assert traces(ssh_site, job) == once_each(2)


async def connected_anew(site: SshSite, line: Line, job: Job) -> None:
    """Cut the line, and wait until both services are in again: what is open needs no key."""
    before = line.counts()["connections"]
    line.cut()

    async def both() -> bool:
        with contextlib.suppress(Unavailable):
            await site.log(job.id)  # the poller comes back by itself, the executor when it has something to do
        counts = line.counts()
        return counts["connections"] >= before + 2 and counts["open"] == 2

    await until(both, "both services have logged in again")


@pytest.fixture
def forced(ssh_site: SshSite) -> Iterator[UnixUser]:
    """A user whose key is worth nothing but the installed agent."""
    grace = ssh_site.cluster.users.grace
    agent = ssh_site.folder / "installed-agent.py"
    agent.write_bytes(agent_source())
    agent.chmod(0o644)
    public = ssh_site.new_key(grace)
    ssh_site.server.admit(grace, public, options=f'restrict,command="{SYSTEM_PYTHON} -I -S {agent}"')
    yield grace
    ssh_site.server.admit(grace, public)


async def test_an_installed_agent_under_a_forced_command_runs_jobs(ssh_site: SshSite, forced: UnixUser) -> None:
    profile = await ssh_site.profile_on(forced)
    job = await ssh_site.run(forced, TRACES, 3, profile_id=profile)
    assert job.state == "succeeded"
    assert traces(ssh_site, job, forced) == once_each(3)
    found = await findings(ssh_site, profile)
    assert {one.level for one in found.values()} == {"ok"}, found


async def test_a_host_that_hangs_holds_up_nobody_else(ssh_site: SshSite) -> None:
    ada = ssh_site.cluster.users.ada
    await ssh_site.run(ada, ["true"])
    calm = await pace(ssh_site)
    hanging = ssh_site.new_line()
    hanging.drop()
    profiles = [await ssh_site.profile_on(ada, port=hanging.port) for _ in range(3)]
    stuck = [await ssh_site.submit(ada, ["true"], profile_id=profile) for profile in profiles for _ in range(3)]
    await until(lambda: hanging.counts()["open"] >= len(profiles), "all of them try to connect")
    job, hung = await asyncio.gather(ssh_site.run(ada, TRACES, 4), pace(ssh_site))
    assert job.state == "succeeded"
    assert all([(await ssh_site.until(one.id, "accepted")).counts.waiting for one in stuck])
    assert hung < 5 * calm + 0.1
    async with ssh_site.stack.executor() as executor:
        for one in stuck:
            await executor.cancel(one.id)
    hanging.heal()
    for one in stuck:
        assert (await ssh_site.until(one.id)).state == "cancelled"


async def pace(site: SshSite) -> float:
    """Seconds that a small request takes as a rule."""
    taken = []
    async with site.stack.executor() as executor:
        for _ in range(60):
            began = time.perf_counter()
            await executor.jobs(state="running")
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
    return statistics.median(taken)


@pytest.fixture(scope="module")
def _own_site(_slurm_cluster: SlurmCluster, public_installation: PublicInstallation) -> Iterator[SshSite]:
    """Services that die where a test wants it, and may be replaced; they begin as an older version."""
    points = points_folder(_slurm_cluster, "ssh-points")
    remark = b"\nOLDER = True\n"
    changed = {
        "shared/remote/agent/verbs/table.py": remark,
        "shared/remote/runner/main.py": remark,
        "shared/pipes/pool.py": remark,
    }
    older = OtherVersion(_slurm_cluster.folder / "older", public_installation, changed)
    site = SshSite(_slurm_cluster, older, {"STOKER_FAILPOINTS": str(points)})
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def own_site(request: pytest.FixtureRequest, _own_site: SshSite) -> SshSite:
    request.getfixturevalue("slurm_cluster")  # tidy before and after
    _own_site.allow()  # another site lets the same users in with other keys
    return _own_site


async def test_another_version_takes_up_what_one_has_launched(
    own_site: SshSite, public_installation: PublicInstallation
) -> None:
    cluster, ada = own_site.cluster, own_site.cluster.users.ada
    hold = {"default_slurm_config": {"extra_lines": ["#SBATCH --hold"]}}
    held = await own_site.profile_on(ada, jobs_runner_config=hold)
    queued = await own_site.submit(ada, TRACES, 2, profile_id=held)
    runs = await own_site.submit(ada, ["sh", "-c", WAITS], 2)
    work = own_site.job_folder(ada, runs) / "work"
    await until((work / "started-0").exists, "the job runs")
    await own_site.until(queued.id, "queued")
    assert b"OLDER = True" in (own_site.job_folder(ada, queued) / "runner.py").read_bytes()

    own_site.replace(public_installation)  # here: what a thread starts is ended with the thread
    native_ids = {str(batch.native_id).partition("_")[0] for batch in await own_site.batches(queued.id)}
    await asyncio.to_thread(cluster.administer, "scontrol", "release", *native_ids)
    (work / "go").touch()
    for job in (queued, runs):
        assert (await own_site.until(job.id)).state == "succeeded"
        assert traces(own_site, job) == once_each(2)
    new = await own_site.run(ada, TRACES, 2)
    assert new.state == "succeeded"
    assert b"OLDER = True" not in (own_site.job_folder(ada, new) / "runner.py").read_bytes()


async def test_every_unit_runs_once_although_the_executor_dies_at_every_step(own_site: SshSite) -> None:
    points = [point for point in POINTS if point != "slurm_launcher.scancelled"]
    died = await dies_at(own_site, own_site.cluster.folder / "ssh-points", points)
    job = await own_site.submit(own_site.cluster.users.ada, TRACES, 3)
    await died()
    assert (await own_site.until(job.id)).state == "succeeded", own_site.stack.logs()
    assert traces(own_site, job) == once_each(3)


async def test_an_executor_that_dies_while_the_line_is_cut_finds_all_again(own_site: SshSite) -> None:
    ada = own_site.cluster.users.ada
    job = await own_site.submit(ada, ["sh", "-c", WAITS], 2)
    work = own_site.job_folder(ada, job) / "work"
    await until((work / "started-0").exists, "the job runs")
    own_site.line.drop()
    try:
        pid = own_site.stack.kill("executor")
        (work / "go").touch()
        await asyncio.to_thread(own_site.stack.restarted, "executor", pid)
        await asyncio.to_thread(own_site.stack.ready)
        await waiting_for(own_site, job, "is unreachable since 20")
    finally:
        own_site.line.heal()
    assert (await own_site.until(job.id)).state == "succeeded"
    assert traces(own_site, job) == once_each(2)
