"""Environments on resources of their own beside a cluster: where they are made, by whom, and how that ends."""

import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from stoker.contracts.environments import (
    Environment,
    EnvironmentFromExisting,
    EnvironmentFromPixi,
    EnvironmentFromPypi,
)
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.needs import Needs
from stoker.contracts.tasks import TaskRun
from tests.servers.slurm.users import UnixUser
from tests.waiting import until
from tests.workshop import environments
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.sudo_site import SudoSite

# Packages of the tests ask for two CPUs, which is more than the resource gives.
ONE_CPU = Needs(cpus_per_task=1)


class Place(NamedTuple):
    """Where environments of a profile (ada's) are made, and by whom."""

    profile_id: str
    maker: UnixUser
    tasks: Path
    jobs: Path

    def left(self) -> list[str]:
        """All that is in the folder of environments, without the uv that was sent for all of them."""
        found = (path.relative_to(self.tasks) for path in self.tasks.rglob("*"))
        return [str(path) for path in found if not path.parts[0].startswith(".uv-")]


async def place_on(site: ClusterStackSite, **changes: Any) -> Place:
    """On a new resource, whose configuration differs by `changes`; on `slurm_sudo` it has a user for tasks."""
    ada = site.cluster.users.ada
    if not isinstance(site, SudoSite):
        tasks = ada.home / f"tasks of {secrets.token_hex(4)}"
        (profile_id,) = await site.profiles_on(ada, profile={"tasks_remote_dir": str(tasks)}, **changes)
        return Place(profile_id, ada, tasks, site.jobs_root(ada))
    maker = site.newcomer(f"maker-{secrets.token_hex(2)}")
    tasks = site.folder / f"tasks of {maker.name}"
    tasks.mkdir(mode=0o755)
    shutil.chown(tasks, maker.uid, maker.gid)
    profile_id = await site.profile_on(ada, tasks_user=maker.name, tasks_local_dir=str(tasks), **changes)
    return Place(profile_id, maker, tasks, site.jobs_root(maker))


async def created(
    site: ClusterStackSite, wanted: EnvironmentFromPixi | EnvironmentFromPypi | EnvironmentFromExisting
) -> Environment:
    """The environment of a request."""
    async with site.stack.executor() as executor:
        return await executor.create_environment(wanted)


async def settled(site: ClusterStackSite, environment_id: str) -> Environment:
    """The environment once its latest activity has ended."""
    async with site.stack.executor() as executor:
        return await environments.settled(executor, environment_id)


async def waiting_for(site: ClusterStackSite, environment_id: str, words: str) -> None:
    """Until its activity says what keeps it from going on."""
    async with site.stack.executor() as executor:

        async def said() -> bool:
            activity = (await executor.environment(environment_id)).activity
            return activity is not None and words in (activity.waiting_for or "")

        await until(said, f"the activity waits for: {words}")


async def seen_by_task(site: ClusterStackSite, profile_id: str, environment: Environment) -> str:
    """What ada's task of the environment answers, which is the name of its image."""
    wanted = TaskRun(environment_id=environment.id, task="Look", zarr_urls=["/data/a"], needs_parallel=ONE_CPU)
    async with site.stack.executor() as executor:
        job = await executor.submit(JobSubmit(profile_id=profile_id, task=wanted))
    assert (await site.until(job.id)).state == "succeeded"
    [unit] = await site.units(job.id)
    return str(unit.output["image_list_updates"][0]["zarr_url"])
