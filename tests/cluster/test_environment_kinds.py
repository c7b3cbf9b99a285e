"""The same environments on each kind of resource: one made of a real package, and one that is there already."""

import asyncio
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stoker.contracts.environments import (
    FINAL_ACTIVITY_STATES,
    Environment,
    EnvironmentFromExisting,
    EnvironmentFromPypi,
)
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.needs import Needs
from stoker.contracts.tasks import TaskRun
from tests.servers.slurm.users import UnixUser
from tests.waiting import until
from tests.workshop.cluster_builds import created, seen_by_task, settled
from tests.workshop.cluster_stack import SYSTEM_PYTHON, ClusterStackSite
from tests.workshop.packages import make_environment
from tests.workshop.ssh_site import SshSite
from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio

PACKAGE = "testing-tasks-mock"
UV = str(Path(sys.executable).with_name("uv"))


class Kind(NamedTuple):
    """One kind of resource, and as whom its tasks run."""

    site: ClusterStackSite
    profile_id: str
    runs_as: UnixUser


async def local_kind(site: SudoSite) -> Kind:
    """A local resource of the same services."""
    home = site.service_user.home / f"local-{secrets.token_hex(4)}"
    python = {"default_version": "3.11", "versions": {"3.11": SYSTEM_PYTHON}}
    spec = {
        "type": "local",
        "name": home.name,
        "jobs_local_dir": str(home / "jobs"),
        "tasks_local_dir": str(home / "tasks"),
        "tasks_python_config": python,
        "jobs_runner_config": {},
        "jobs_poll_interval": 0,
    }
    async with site.stack.registry() as registry:
        resource = await registry.create_resource(spec)
        profile = await registry.create_profile(resource.id, {"name": home.name, "resource_type": "local"})
    return Kind(site, profile.id, site.service_user)


def pip_freeze(environment: Environment) -> bytes:
    """What a program that is none of ours says is installed."""
    python = f"{environment.folder}/venv/bin/python"
    return subprocess.run([UV, "pip", "freeze", "--python", python], capture_output=True, check=True).stdout


async def tasks_of(kind: Kind, environment: Environment) -> list[dict[str, Any]]:
    async with kind.site.stack.executor() as executor:
        found = [task async for task in executor.tasks(environment_id=environment.id)]
    own = {"id", "environment_id"}
    return [{name: getattr(task, name) for name in task.__struct_fields__ if name not in own} for task in found]


async def outcomes(kind: Kind, environment: Environment) -> list[tuple[str, Any, int | None]]:
    """What becomes of units of a task, of which one is asked for too much."""
    urls = ["/data/a.zarr", "/data/b.zarr"]
    wanted = TaskRun(
        environment_id=environment.id,
        task="generic_task_parallel",
        zarr_urls=urls,
        needs_parallel=Needs(mem="300M"),
    )
    failing = TaskRun(
        environment_id=environment.id,
        task="generic_task",
        zarr_urls=urls,
        zarr_dir="/data",
        arguments_non_parallel={"sleep_time": 0, "raise_error": True},
        needs_non_parallel=Needs(mem="300M"),
    )
    seen: list[tuple[str, Any, int | None]] = []
    async with kind.site.stack.executor() as executor:
        for run in (wanted, failing):
            job = await executor.submit(JobSubmit(profile_id=kind.profile_id, task=run))
            await kind.site.until(job.id)
            seen += [(unit.state, unit.output, unit.exit_code) for unit in await kind.site.units(job.id)]
    return seen


async def test_each_kind_of_resource_makes_the_same_of_a_package_and_makes_it_again_exactly(
    sudo_site: SudoSite, ssh_site: SshSite
) -> None:
    ada = sudo_site.cluster.users.ada
    for site in (sudo_site, ssh_site):
        await asyncio.to_thread(site.index.add_real, f"{PACKAGE}==0.1.5", "3.11")
    kinds = [
        await local_kind(sudo_site),
        Kind(sudo_site, sudo_site.profile(ada), ada),
        Kind(ssh_site, ssh_site.profile(ada), ada),
    ]
    made = []
    for kind in kinds:
        wanted = EnvironmentFromPypi(profile_id=kind.profile_id, package=PACKAGE)
        ready = await settled(kind.site, (await created(kind.site, wanted)).id)
        assert ready.state == "ready", (ready, kind.site.stack.logs())
        made.append(ready)
    freezes = [pip_freeze(one) for one in made]
    assert freezes[0].startswith(b"annotated-types==")
    assert freezes == [freezes[0]] * 3
    tasks = [await tasks_of(kind, one) for kind, one in zip(kinds, made, strict=True)]
    assert [task["name"] for task in tasks[0]] == ["generic_task", "generic_task_parallel"]
    assert tasks == [tasks[0]] * 3
    seen = [await outcomes(kind, one) for kind, one in zip(kinds, made, strict=True)]
    assert [state for state, *_ in seen[0]] == ["succeeded", "succeeded", "failed"]
    assert seen == [seen[0]] * 3
    for kind, one in zip(kinds, made, strict=True):
        async with kind.site.stack.executor() as executor:
            before = await executor.freeze(one.id)
            await executor.deactivate_environment(one.id)
            assert (await settled(kind.site, one.id)).state == "inactive"
            # What came meanwhile is not taken.
            kind.site.index.add("annotated-types", "99.0")
            await executor.reactivate_environment(one.id)
            again = await settled(kind.site, one.id)
            assert again.state == "ready", again
            assert await executor.freeze(one.id) == before
        assert pip_freeze(again) == freezes[0]


async def test_an_existing_environment_of_the_cluster_is_used_and_left_alone(site: ClusterStackSite) -> None:
    folder = await asyncio.to_thread(make_environment, site.folder / "theirs", "their-tasks", "3.1")
    ada = site.cluster.users.ada
    wanted = EnvironmentFromExisting(profile_id=site.profile(ada), path=str(folder), package="their-tasks")
    ready = await settled(site, (await created(site, wanted)).id)
    assert (ready.state, ready.version, ready.folder) == ("ready", "3.1", str(folder)), ready
    assert await seen_by_task(site, site.profile(ada), ready) == "/data/a"
    async with site.stack.executor() as executor:
        deleting = await executor.delete_environment(ready.id)
        assert deleting.activity is not None
        activity_id = deleting.activity.id

        async def over() -> bool:
            return (await executor.activity(activity_id)).state in FINAL_ACTIVITY_STATES

        await until(over, "the end of the removal")
        assert (await executor.activity(activity_id)).state == "done"
    assert (folder / "bin/python").exists()
