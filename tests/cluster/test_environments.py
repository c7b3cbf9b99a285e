"""Environments beside a cluster, whatever the way to it: made where they belong, and used by jobs in SLURM."""

import asyncio
import hashlib
import re
import secrets
import shutil
import stat
import sys
from pathlib import Path

import pytest

from stoker.contracts.environments import Environment, EnvironmentFromPypi
from stoker.contracts.jobs import Job, JobSubmit
from stoker.contracts.needs import Needs
from stoker.contracts.tasks import TaskRun
from tests.servers.slurm.users import UnixUser
from tests.waiting import until
from tests.workshop.cluster_stack import SYSTEM_PYTHON, ClusterStackSite
from tests.workshop.environments import gone, log_of, settled
from tests.workshop.packages import TASK, manifest, task_files
from tests.workshop.ssh_site import SshSite
from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio

# Tries to change, in one way after the other, the environment that it runs in.
CHANGES_ITSELF = """\
import os, pathlib, sys
package, venv = pathlib.Path(__file__).parent, pathlib.Path(sys.prefix)
print("runs as", os.getuid())
for attempt in (
    lambda: (package / "look.py").write_text("raise SystemExit(1)"),
    lambda: (package / "more.py").write_text(""),
    lambda: (package / "look.py").unlink(),
    lambda: package.chmod(0o777),
    lambda: (venv / "bin/python").unlink(),
    lambda: (venv.parent / "ready").unlink(),
    lambda: venv.parent.rename(venv.parent.with_name("moved")),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""
# Names as many images as it is told.
NAMES = """\
import json, sys
with open(sys.argv[2]) as file:
    count = json.load(file)["count"]
with open(sys.argv[4], "w") as file:
    json.dump({"parallelization_list": [{"zarr_url": f"/data/{n}"} for n in range(count)]}, file)
"""
TASKS = [
    {"name": "Look", "executable_parallel": "look.py", "meta_parallel": {"cpus_per_task": 1, "mem": 100}},
    {"name": "Change", "executable_parallel": "change.py"},
    {
        "name": "Both",
        "executable_non_parallel": "names.py",
        "executable_parallel": "look.py",
        "meta_parallel": {"mem": "120M"},
    },
]


@pytest.fixture(params=["sudo", "ssh"])
def site(request: pytest.FixtureRequest) -> ClusterStackSite:
    """Either way to the cluster, with a task package in its index."""
    found: ClusterStackSite = request.getfixturevalue(f"{request.param}_site")
    if not (found.index.folder / "some-tasks").exists():
        programs = {"some_tasks/change.py": CHANGES_ITSELF, "some_tasks/names.py": NAMES, "some_tasks/look.py": TASK}
        found.index.add("some-tasks", "1.0", task_files("some_tasks", manifest(*TASKS)) | programs)
    return found


async def made(site: ClusterStackSite, user: UnixUser) -> Environment:
    """An environment that is ready."""
    async with site.stack.executor() as executor:
        wanted = EnvironmentFromPypi(profile_id=site.profile(user), package="some-tasks")
        return await settled(executor, (await executor.create_environment(wanted)).id)


async def run(site: ClusterStackSite, user: UnixUser, wanted: TaskRun) -> Job:
    async with site.stack.executor() as executor:
        job = await executor.submit(JobSubmit(profile_id=site.profile(user), task=wanted))
    return await site.until(job.id)


async def test_an_environment_is_made_used_as_the_scientist_made_again_and_removed(site: ClusterStackSite) -> None:
    ada = site.cluster.users.ada
    ready = await made(site, ada)
    assert ready.state == "ready", (ready, site.stack.logs())
    folder = Path(ready.folder or "")
    makers = site.service_user if isinstance(site, SudoSite) else ada
    assert folder.owner() == makers.name
    assert folder.is_relative_to(site.tasks_dir if isinstance(site, SudoSite) else ada.home / "remote tasks")
    job = await run(site, ada, TaskRun(environment_id=ready.id, task="Look", zarr_urls=["/data/a", "/data/b"]))
    assert job.state == "succeeded", job
    outputs = [unit.output for unit in await site.units(job.id)]
    assert [one["image_list_updates"][0]["zarr_url"] for one in outputs] == ["/data/a", "/data/b"]
    both = TaskRun(environment_id=ready.id, task="Both", zarr_dir="/data", arguments_non_parallel={"count": 3})
    job = await run(site, ada, both)
    assert (job.state, job.unit_count) == ("succeeded", 4), job
    assert (await site.batches(job.id))[0].unit_count == 1
    async with site.stack.executor() as executor:
        before = await executor.freeze(ready.id)
        await executor.deactivate_environment(ready.id)
        assert (await settled(executor, ready.id)).state == "inactive"
        assert not (folder / "venv").exists()
        await executor.reactivate_environment(ready.id)
        assert (await settled(executor, ready.id)).state == "ready"
        assert await executor.freeze(ready.id) == before
        await executor.delete_environment(ready.id)
        await gone(executor, ready.id)
    assert not folder.exists()


async def test_uv_is_sent_to_a_cluster_once_and_makes_its_environments(ssh_site: SshSite) -> None:
    site, ada = ssh_site, ssh_site.cluster.users.ada
    tasks = ada.home / f"tasks of {secrets.token_hex(4)}"
    profile_id = await site.profile_of(ada, tasks_remote_dir=str(tasks))
    size = Path(sys.executable).with_name("uv").stat().st_size
    names = [add_tasks(site) for _ in range(4)]

    sent = site.line.counts()["towards_server"]
    together = await asyncio.gather(*(made_of(site, profile_id, name) for name in names[1:]))
    ready, log = together[0]
    assert all((environment.installer or "").startswith("uv ") for environment, _ in together)
    [uv] = tasks.glob(".uv-*/uv")
    assert f"$ '{uv}' --version" in log
    assert uv.parent.name == f".uv-{hashlib.sha256(uv.read_bytes()).hexdigest()}"
    assert (stat.S_IMODE(uv.stat().st_mode), uv.owner()) == (0o755, ada.name)
    assert size < site.line.counts()["towards_server"] - sent < 1.5 * size

    before, sent = uv.stat(), site.line.counts()["towards_server"]
    later, _ = await made_of(site, profile_id, names[0])
    assert later.installer == ready.installer
    assert site.line.counts()["towards_server"] - sent < size / 4
    assert uv.stat() == before
    assert list(tasks.glob(".*")) == [uv.parent]


async def test_uv_arrives_whole_although_the_line_breaks_while_it_is_sent(ssh_site: SshSite) -> None:
    site, ada = ssh_site, ssh_site.cluster.users.ada
    tasks = ada.home / f"tasks of {secrets.token_hex(4)}"
    profile_id = await site.profile_of(ada, tasks_remote_dir=str(tasks))
    broken = site.line.counts()["broken"]
    site.line.cut(after_bytes=8_000_000)
    ready, _ = await made_of(site, profile_id, add_tasks(site))
    assert site.line.counts()["broken"] == broken + 1
    assert (ready.installer or "").startswith("uv ")
    [folder] = tasks.glob(".*")  # nothing is left of the first attempt
    [uv] = folder.iterdir()
    assert folder.name == f".uv-{hashlib.sha256(uv.read_bytes()).hexdigest()}"


async def test_where_uv_does_not_fit_pip_makes_the_environment_and_the_log_says_why(ssh_site: SshSite) -> None:
    site, ada = ssh_site, ssh_site.cluster.users.ada
    tasks = ada.home / f"tasks of {secrets.token_hex(4)}"
    # A processor of another kind, as far as programs are told.
    python = site.folder / f"python-{secrets.token_hex(4)}"
    python.write_text(f'#!/bin/sh\nexec setarch linux32 {SYSTEM_PYTHON} "$@"\n')
    python.chmod(0o755)
    [profile_id] = await site.profiles_on(
        ada, profile={"tasks_remote_dir": str(tasks)}, jobs_slurm_python_worker=str(python)
    )
    ready, log = await made_of(site, profile_id, add_tasks(site))
    assert (ready.state, ready.installer) == ("ready", "pip")
    [why] = [line for line in log.splitlines() if "pip does the work" in line]
    assert re.match(r"no uv for this machine \((?!x86_64|aarch64)\w+, glibc [\d.]+\) is at ", why), why
    assert list(tasks.glob(".*")) == []


def add_tasks(site: ClusterStackSite) -> str:
    """A task package of its own in the site's index."""
    name = f"tasks-{secrets.token_hex(4)}"
    site.index.add_tasks(name, "1.0")
    return name


async def made_of(site: ClusterStackSite, profile_id: str, package: str) -> tuple[Environment, str]:
    """An environment that is ready, and the log of making it."""
    async with site.stack.executor() as executor:
        wanted = EnvironmentFromPypi(profile_id=profile_id, package=package)
        ready = await settled(executor, (await executor.create_environment(wanted)).id)
        assert ready.state == "ready", (ready, site.stack.logs())
        assert ready.activity is not None
        return ready, await log_of(executor, ready.activity.id)


async def test_what_scientists_run_and_may_not_write_to_is_compiled_when_it_is_ready(sudo_site: SudoSite) -> None:
    site, ada = sudo_site, sudo_site.cluster.users.ada
    ready, _ = await made_of(site, site.profile(ada), add_tasks(site))
    folder = Path(ready.folder or "")
    files = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    [compiled] = folder.rglob("look.*.pyc")
    assert (compiled.owner(), stat.S_IMODE(compiled.stat().st_mode)) == (site.service_user.name, 0o644)
    look = TaskRun(environment_id=ready.id, task="Look", zarr_urls=["/a"], needs_parallel=Needs(cpus_per_task=1))
    assert (await run(site, ada, look)).state == "succeeded"
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == files


def everything_in(environment: Environment) -> list[tuple[str, int, int, int]]:
    """All of its folder, with what would differ after a change."""
    folder = Path(environment.folder or "")
    found = [(str(path), path.lstat()) for path in (folder, *folder.rglob("*"))]
    return sorted((path, seen.st_mode, seen.st_size, seen.st_mtime_ns) for path, seen in found)


async def test_a_task_cannot_change_the_environment_that_it_runs_in(sudo_site: SudoSite) -> None:
    site = sudo_site
    if not (site.index.folder / "changing-tasks").exists():
        files = task_files("changing_tasks", manifest(*TASKS[:2])) | {"changing_tasks/change.py": CHANGES_ITSELF}
        site.index.add("changing-tasks", "1.0", files)
    async with site.stack.executor() as executor:
        wanted = EnvironmentFromPypi(profile_id=site.profile(site.cluster.users.ada), package="changing-tasks")
        ready = await settled(executor, (await executor.create_environment(wanted)).id)
        assert ready.state == "ready", ready
        run_it = TaskRun(environment_id=ready.id, task="Change", zarr_urls=["/a"])
        before = everything_in(ready)
        job = await run(site, site.cluster.users.ada, run_it)
        assert await site.log(job.id) == f"runs as {site.cluster.users.ada.uid}\n" + 7 * "refused\n"
        assert job.state == "succeeded"
        assert everything_in(ready) == before
        # Another scientist of the resource uses the same one.
        look = TaskRun(environment_id=ready.id, task="Look", zarr_urls=["/a"])
        assert (await run(site, site.cluster.users.grace, look)).state == "succeeded"
        await executor.delete_environment(ready.id)


async def test_where_a_user_for_tasks_is_named_environments_are_that_users(sudo_site: SudoSite) -> None:
    site, ada = sudo_site, sudo_site.cluster.users.ada
    builder = site.newcomer("builder")
    tasks = site.folder / "tasks of builder"
    tasks.mkdir(mode=0o755)
    shutil.chown(tasks, builder.uid, builder.gid)
    if not (site.index.folder / "built-tasks").exists():
        site.index.add_tasks("built-tasks", "1.0")
    profile_id = await site.profile_on(ada, tasks_user=builder.name, tasks_local_dir=str(tasks))
    async with site.stack.executor() as executor:
        wanted = EnvironmentFromPypi(profile_id=profile_id, package="built-tasks")
        ready = await settled(executor, (await executor.create_environment(wanted)).id)
        assert ready.state == "ready", (ready, site.stack.logs())
        folder = Path(ready.folder or "")
        assert (folder.owner(), folder.is_relative_to(tasks)) == (builder.name, True)
        # The package asks for two CPUs, which is more than this resource gives.
        needs = Needs(cpus_per_task=1)
        look = TaskRun(environment_id=ready.id, task="Look", zarr_urls=["/a"], needs_parallel=needs)
        job = await executor.submit(JobSubmit(profile_id=profile_id, task=look))
        assert (await site.until(job.id)).state == "succeeded"
        await executor.delete_environment(ready.id)
        await until(lambda: _absent(folder), "the end of its folder")


async def _absent(folder: Path) -> bool:
    return not folder.exists()
