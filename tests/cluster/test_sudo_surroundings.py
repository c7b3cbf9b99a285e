"""What scientists' surroundings do to their jobs: full disks, homes that cannot be written to, chatty shells."""

import asyncio
import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.contracts.jobs import Job, JobSubmit
from tests.servers.slurm.users import UnixUser
from tests.waiting import until
from tests.workshop.sudo_site import SYSTEM_PYTHON, SudoSite

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def small_disk(site: SudoSite, user: UnixUser) -> Iterator[Path]:
    """A disk of one megabyte of the user's own."""
    folder = site.folder / f"disk-{secrets.token_hex(4)}"
    folder.mkdir()
    options = f"size=1m,mode=0700,uid={user.uid},gid={user.gid}"
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", options, "stoker-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        # Lazily: agents still have folders open there.
        subprocess.run(["/usr/bin/umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; returns the file that takes it."""
    file = disk / "fills-it"
    with file.open("wb", buffering=0) as written, contextlib.suppress(OSError):
        while True:
            written.write(bytes(4096))
    return file


async def waiting_for(site: SudoSite, job: Job, words: str) -> None:
    async def told() -> bool:
        async with site.stack.executor() as executor:
            return words in ((await executor.job(job.id)).waiting_for or "")

    await until(told, f"the job waits for: {words}")


async def cancelled(site: SudoSite, job: Job) -> None:
    async with site.stack.executor() as executor:
        await executor.cancel(job.id)
    assert (await site.until(job.id)).state == "cancelled"


async def test_a_job_waits_for_room_on_its_users_disk_and_can_be_cancelled_meanwhile(sudo_site: SudoSite) -> None:
    ada, grace = sudo_site.cluster.users.scientists
    with small_disk(sudo_site, ada) as disk:
        profile = await sudo_site.profile_of(ada, jobs_remote_dir=str(disk))
        taken = fill(disk)
        job = await sudo_site.submit(ada, ["true"], profile_id=profile)
        given_up = await sudo_site.submit(ada, ["true"], profile_id=profile)
        for one in (job, given_up):
            await waiting_for(sudo_site, one, "No space left on device")
        assert (await sudo_site.run(grace, ["true"])).state == "succeeded"
        await cancelled(sudo_site, given_up)
        taken.unlink()
        assert (await sudo_site.until(job.id)).state == "succeeded"


async def test_a_unit_that_fills_the_disk_fails_and_its_batch_still_says_how_it_ended(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    with small_disk(sudo_site, ada) as disk:
        profile = await sudo_site.profile_of(ada, jobs_remote_dir=str(disk))
        job = await sudo_site.run(ada, ["sh", "-c", "exec cat /dev/zero > {unit}.dat"], profile_id=profile)
        (unit,) = await sudo_site.units(job.id)
        (batch,) = await sudo_site.batches(job.id)
        assert (disk / job.folder / "batches/00000/end.json").exists()
    assert unit.reason is not None
    assert (job.state, batch.state, unit.reason.code) == ("failed", "ended", "interrupted"), (batch, unit)
    assert "No space left on device" in unit.reason.text
    assert (await sudo_site.run(ada, ["true"])).state == "succeeded"


async def test_jobs_lie_in_the_folder_that_the_profile_names(sudo_site: SudoSite) -> None:
    ada = sudo_site.cluster.users.ada
    folder = ada.home / "data of mine" / "jobs, new"
    profile = await sudo_site.profile_of(ada, jobs_remote_dir=str(folder))
    job = await sudo_site.run(ada, ["pwd"], profile_id=profile)
    assert (job.state, await sudo_site.log(job.id)) == ("succeeded", f"{folder}/{job.folder}/work\n")
    shown = await asyncio.to_thread(sudo_site.cluster.job, str((await sudo_site.batches(job.id))[0].native_id))
    assert shown["WorkDir"] == f"{folder}/{job.folder}"
    assert {path.stat().st_uid for path in folder.rglob("*")} == {ada.uid}
    async with sudo_site.stack.executor() as executor:
        plan = await executor.plan(JobSubmit(profile_id=profile, command=["true"], units=[{}]))
    assert f"{folder}/" in (plan.script or "")


async def test_a_home_that_cannot_be_written_to_fails_the_job_with_the_reason(sudo_site: SudoSite) -> None:
    user = sudo_site.newcomer("homeless")
    os.chown(user.home, 0, -1)
    user.home.chmod(0o755)
    profile = await sudo_site.profile_of(user)
    job = await sudo_site.run(user, ["true"], profile_id=profile)
    (unit,) = await sudo_site.units(job.id)
    assert unit.reason is not None
    assert (job.state, unit.state, unit.reason.code) == ("failed", "failed", "staging_failed")
    assert f"{user.home}/stoker" in unit.reason.text
    assert "Permission denied" in unit.reason.text
    assert "jobs_remote_dir" in unit.reason.text
    os.chown(user.home, user.uid, -1)
    assert (await sudo_site.run(user, ["true"], profile_id=profile)).state == "succeeded"


async def test_an_interpreter_that_is_missing_is_waited_for_before_and_told_after_the_launch(
    sudo_site: SudoSite,
) -> None:
    ada = sudo_site.cluster.users.ada
    python = sudo_site.folder / "python-of-the-cluster"
    sudo_site.allow(str(python))
    try:
        profile = await sudo_site.profile_on(ada, jobs_slurm_python_worker=str(python))
        job = await sudo_site.submit(ada, ["true"], profile_id=profile)
        given_up = await sudo_site.submit(ada, ["true"], profile_id=profile)
        await waiting_for(sudo_site, job, f"the interpreter {python} is not there")
        await cancelled(sudo_site, given_up)
        python.symlink_to(SYSTEM_PYTHON)
        assert (await sudo_site.until(job.id)).state == "succeeded"
        python.unlink()  # the agent runs; what SLURM starts does not find it
        job = await sudo_site.run(ada, ["true"], profile_id=profile)
    finally:
        sudo_site.allow()
    (batch,) = await sudo_site.batches(job.id)
    assert batch.reason is not None
    assert (job.state, batch.reason.code) == ("failed", "launch_failed"), batch
    assert str(python) in batch.reason.log_tail
    assert "not found" in batch.reason.log_tail


@pytest.mark.parametrize("shell", ["/bin/bash", "/usr/bin/tcsh"])
async def test_what_a_login_prints_and_sets_reaches_no_job(sudo_site: SudoSite, shell: str) -> None:
    """Umask 077 comes from the login's files and from sudo itself."""
    user = sudo_site.newcomer(f"chatty-{Path(shell).name}", shell=shell)
    for name in (".bashrc", ".profile", ".bash_profile", ".tcshrc", ".login"):
        file = user.home / name
        file.write_text("echo Welcome; umask 077\n")
        os.chown(file, user.uid, user.gid)
    sudo_site.cluster.sudoers.write("masks", f"Defaults:{sudo_site.service_user.name} umask=0077,umask_override\n")
    try:
        profile = await sudo_site.profile_of(user)
        job = await sudo_site.run(user, ["sh", "-c", "umask; touch made"], profile_id=profile)
    finally:
        sudo_site.cluster.sudoers.remove("masks")
    assert (job.state, await sudo_site.log(job.id)) == ("succeeded", "0022\n")
    assert (sudo_site.job_folder(user, job) / "work/made").stat().st_mode & 0o777 == 0o644
