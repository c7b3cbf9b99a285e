"""Users of one cluster and each other's jobs: what SLURM hides, what keys see, and what the agent refuses."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from stoker.clients import PollerClient
from stoker.contracts.jobs import Job
from stoker.contracts.keys import AccessKeyCreate
from stoker.contracts.queues import QueueEntry
from stoker.errors import NotFound, Unavailable
from tests.servers.slurm.users import UnixUser
from tests.waiting import until
from tests.workshop.sudo_site import SudoSite

pytestmark = pytest.mark.anyio

WAITS = ["sh", "-c", "touch started; until [ -e go ]; do sleep 0.1; done"]


async def started(site: SudoSite, user: UnixUser) -> Job:
    job = await site.submit(user, WAITS)
    await site.until(job.id, "running")
    await until((site.job_folder(user, job) / "work/started").exists, "the unit has started")
    return job


def restart(site: SudoSite) -> None:
    """Executor and poller remember for minutes what a cluster is like."""
    for name in ("executor", "poller"):
        site.stack.restarted(name, site.stack.kill(name))  # type: ignore[arg-type]
    site.stack.ready()


@asynccontextmanager
async def hidden_jobs(site: SudoSite) -> AsyncGenerator[None]:
    """Inside, the cluster shows users only their own jobs."""
    with site.cluster.settings(restart=True, PrivateData="jobs"):
        await asyncio.to_thread(restart, site)
        yield
    await asyncio.to_thread(restart, site)


async def test_where_jobs_are_hidden_those_of_all_users_stay_watched_and_end_rightly(sudo_site: SudoSite) -> None:
    cluster, users = sudo_site.cluster, sudo_site.cluster.users.scientists
    async with hidden_jobs(sudo_site):
        finish = [await started(sudo_site, user) for user in users]
        stop = [await started(sudo_site, user) for user in users]
        assert cluster.run_counted("squeue", "-h", user=sudo_site.service_user).stdout == ""
        cluster.commands.forget()
        for user, job in zip(users, finish, strict=True):
            (sudo_site.job_folder(user, job) / "work/go").touch()
        for job in stop:
            (batch,) = await sudo_site.batches(job.id)
            await asyncio.to_thread(cluster.administer, "scancel", str(batch.native_id))
        assert [(await sudo_site.until(job.id)).state for job in finish] == ["succeeded"] * 2
        for job in stop:
            assert (await sudo_site.until(job.id)).state == "cancelled"
            (unit,) = await sudo_site.units(job.id)
            assert unit.reason is not None
            assert "by an administrator" in unit.reason.text
        assert {call.uid for call in cluster.commands.calls("squeue")} == {user.uid for user in users}


async def queue_entry(poller: PollerClient, resource_id: str, native_id: str) -> QueueEntry:
    """The line about a launch, once the queue shows it."""
    found: list[QueueEntry] = []

    async def seen() -> bool:
        with contextlib.suppress(NotFound, Unavailable):  # nobody has looked yet
            cursor = None
            while not found:
                # Ended jobs of other tests, which SLURM still shows, may fill pages.
                page = await poller.queue(resource_id, cursor=cursor)
                found.extend(row for row in page.items if row.native_id == native_id)
                if (cursor := page.next_cursor) is None:
                    break
        return bool(found)

    await until(seen, "the queue shows the job")
    return found[0]


async def test_a_users_key_sees_its_own_jobs_alone(sudo_site: SudoSite) -> None:
    stack, (ada, grace) = sudo_site.stack, sudo_site.cluster.users.scientists
    keys = {}
    async with stack.registry() as registry:
        for user in (ada, grace):
            made = await registry.create_access_key(
                AccessKeyCreate(name=user.name, profile_ids=[sudo_site.profile(user)])
            )
            keys[user.name] = made.key
    job = await started(sudo_site, ada)
    async with stack.executor(keys[ada.name]) as hers, stack.executor(keys[grace.name]) as other:
        assert await hers.check(sudo_site.profile(ada))
        for asking in (
            other.job(job.id),
            other.unit(job.id, 0),
            other.cancel(job.id),
            other.check(sudo_site.profile(ada)),
            hers.job(job.id),  # an administrator's job is hers as little
        ):
            with pytest.raises(NotFound):
                await asking
        assert job.id not in {one.id for one in (await other.jobs()).items}
    native_id = str((await sudo_site.batches(job.id))[0].native_id)
    for key, told in ((keys[ada.name], (ada.name, f"{job.id}-0")), (keys[grace.name], (None, None))):
        async with stack.poller(key) as poller:
            row = await queue_entry(poller, sudo_site.resource.id, native_id)
        assert (row.user, row.name) == told
    (sudo_site.job_folder(ada, job) / "work/go").touch()
    assert (await sudo_site.until(job.id)).state == "succeeded"


async def test_users_cannot_read_each_others_jobs_neither_alone_nor_through_the_agent(sudo_site: SudoSite) -> None:
    ada, grace = sudo_site.cluster.users.scientists
    job = await sudo_site.run(ada, ["sh", "-c", "echo secret > kept; echo secret"])
    folder = sudo_site.job_folder(ada, job)
    for user in (grace, sudo_site.service_user):
        read = sudo_site.cluster.run("cat", str(folder / "work/kept"), user=user, check=False)
        assert (read.returncode != 0, read.stdout, "Permission denied" in read.stderr) == (True, "", True)
    # Not even where the folders above would let them through.
    ada.home.chmod(0o755)
    try:
        read = sudo_site.cluster.run("ls", str(folder), user=grace, check=False)
        assert (read.returncode != 0, read.stdout) == (True, "")
    finally:
        ada.home.chmod(0o700)
    profile = await sudo_site.profile_of(grace, jobs_remote_dir=str(ada.home / "stoker/jobs"))
    intruder = await sudo_site.run(grace, ["true"], profile_id=profile)
    (unit,) = await sudo_site.units(intruder.id)
    assert unit.reason is not None
    assert (intruder.state, unit.reason.code) == ("failed", "staging_failed")
    assert "Permission denied" in unit.reason.text
    assert {path.stat().st_uid for path in folder.rglob("*")} == {ada.uid}
