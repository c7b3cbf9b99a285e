"""What lines and disks do to environments that are made beside a cluster."""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.contracts.environments import EnvironmentFromPypi
from tests.cluster.test_ssh_line import UNREACHABLE, How, break_line
from tests.waiting import until
from tests.workshop.cluster_builds import Place, created, place_on, seen_by_task, settled, waiting_for
from tests.workshop.cluster_stack import ClusterStackSite
from tests.workshop.ssh_site import SshSite

pytestmark = pytest.mark.anyio


def folders_of(place: Place, name: str) -> list[str]:
    """The environments of a package on disk that say they are whole."""
    return [path.parent.name for path in place.tasks.glob(f"{name}/*/*/ready")]


async def outlasted(site: SshSite, environment_id: str) -> None:
    """Until the activity tells of the outage, and some attempts to connect were in vain."""
    await waiting_for(site, environment_id, UNREACHABLE)
    before = site.line.counts()["connections"]
    await until(lambda: site.line.counts()["connections"] >= before + 2, "it was tried again")


@pytest.mark.parametrize("how", ["closed", "silent"])
async def test_an_environment_is_made_although_the_line_is_cut_meanwhile(ssh_site: SshSite, how: How) -> None:
    name = f"slow-over-{how}"
    control = ssh_site.folder / f"control-{secrets.token_hex(4)}"
    ssh_site.index.add_slow(control, name)
    control.chmod(0o777)
    place = await place_on(ssh_site)
    made = await created(ssh_site, EnvironmentFromPypi(profile_id=place.profile_id, package=name))
    await until((control / "begun").exists, "the build")
    break_line(ssh_site.line, how)
    await outlasted(ssh_site, made.id)
    (control / "go-on").touch()
    await until(lambda: folders_of(place, name) == [made.id], "the build's end on the other side")
    ssh_site.line.heal()
    ready = await settled(ssh_site, made.id)
    assert (ready.state, ready.reason, ready.version) == ("ready", None, "1.0"), ready
    assert ready.activity is not None
    assert (ready.activity.state, ready.activity.waiting_for) == ("done", None)
    async with ssh_site.stack.executor() as executor:
        log = b"".join([part async for part in executor.activity_log(ready.activity.id)]).decode()
    assert f"{name}==1.0" in log
    assert log.count("step 1 ") == 1  # it went on, and was not begun again
    assert await seen_by_task(ssh_site, place.profile_id, ready) == "/data/a"


async def test_a_creation_waits_for_a_line_that_is_down_and_says_so(ssh_site: SshSite) -> None:
    ssh_site.index.add_tasks("waited-tasks", "1.0")
    place = await place_on(ssh_site)
    break_line(ssh_site.line, "closed")
    made = await created(ssh_site, EnvironmentFromPypi(profile_id=place.profile_id, package="waited-tasks"))
    await outlasted(ssh_site, made.id)
    ssh_site.line.heal()
    ready = await settled(ssh_site, made.id)
    assert (ready.state, folders_of(place, "waited-tasks")) == ("ready", [made.id]), ready


@contextlib.contextmanager
def small_disk(place: Place) -> Iterator[None]:
    """Inside, environments of this place are made on a disk of four megabytes."""
    place.tasks.mkdir(exist_ok=True)
    options = f"size=4m,mode=0755,uid={place.maker.uid},gid={place.maker.gid}"
    command = ["/usr/bin/mount", "-t", "tmpfs", "-o", options, "stoker-test", str(place.tasks)]
    subprocess.run(command, check=True)
    try:
        yield
    finally:
        # Lazily: agents still have folders open there.
        subprocess.run(["/usr/bin/umount", "--lazy", str(place.tasks)], check=True)
        os.chown(place.tasks, place.maker.uid, place.maker.gid)


async def test_a_full_disk_fails_a_creation_with_that_reason_and_nothing_stays_on_it(site: ClusterStackSite) -> None:
    name = f"much-over-{site.kind}"
    much = site.index.add("much-data", "1.0", {"much_data/__init__.py": "", "much_data/d": os.urandom(6 << 20).hex()})
    site.index.add_tasks(name, "1.0", needs=("much-data",))
    place = await place_on(site)
    wanted = EnvironmentFromPypi(profile_id=place.profile_id, package=name)
    with small_disk(place):
        failed = await settled(site, (await created(site, wanted)).id)
        assert (failed.state, failed.reason and failed.reason.code) == ("failed", "disk_full"), failed
        assert place.left() == []
    assert Path(much).exists()
    again = await settled(site, (await created(site, wanted)).id)
    assert again.state == "ready", again
