"""Builders that are killed, cancelled, doubled or many: what is there afterwards is complete, or nothing."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.remote.common.processes import is_zombie
from tests.workshop import until
from tests.workshop.building import FOREVER_SECONDS, UV, BuildingSite

SYSTEM_PYTHON = "/usr/bin/python3"
STEPS = [
    "$ ",
    "step 1 of 4",
    "step 2 of 4",
    "Creating virtual environment",
    "step 3 of 4",
    "Installed",
    "step 4 of 4",
    "some-tasks==1.0\n",
]


@pytest.mark.parametrize("words", STEPS)
def test_killed_at_any_point_and_repeated(site: BuildingSite, words: str) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    build = site.start(package="some-tasks")
    until(lambda: words in build.log or build.process.poll() is not None, FOREVER_SECONDS)
    build.kill()
    made = site.start(package="some-tasks").done()
    assert made["version"] == "1.0"
    folder = site.root / "some-tasks" / "1.0" / "env1"
    assert sorted(path.name for path in folder.iterdir()) == ["freeze.txt", "ready", "venv"]
    assert sorted(path.name for path in site.root.iterdir()) == ["some-tasks"]


def test_a_newer_version_that_came_after_the_kill_leaves_no_rest_of_the_older(site: BuildingSite) -> None:
    control = site.folder / "control"
    site.index.add_slow(control)
    build = site.start(package="slow-tasks")
    until((control / "begun").exists, FOREVER_SECONDS)
    build.kill()
    (control / "fail").touch()
    (control / "go-on").touch()
    site.index.add_tasks("slow-tasks", "1.1")
    made = site.start(package="slow-tasks").done()
    assert made["version"] == "1.1"
    assert [path.name for path in (site.root / "slow-tasks").iterdir()] == ["1.1"]


def test_the_next_attempt_waits_until_nothing_of_a_killed_one_is_at_work(site: BuildingSite) -> None:
    control = site.folder / "control"
    site.index.add_slow(control)
    build = site.start(package="slow-tasks")
    until((control / "begun").exists, FOREVER_SECONDS)
    build.kill()
    second = site.start(package="slow-tasks")
    until(lambda: "an earlier attempt on this environment still runs" in second.log, FOREVER_SECONDS)
    (control / "go-on").touch()
    assert second.done()["freeze"] == "slow-tasks==1.0\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_build_ends_what_it_started_and_leaves_nothing(site: BuildingSite, number: int) -> None:
    control = site.folder / "control"
    site.index.add_slow(control)
    build = site.start(package="slow-tasks")
    until((control / "begun").exists, FOREVER_SECONDS)
    os.kill(build.process.pid, number)
    # As a shell says it; the runner knows who told it to end, and says why.
    assert build.process.wait(FOREVER_SECONDS) == 128 + number
    assert not build.out.exists()
    assert f"failed: it was ended by signal {int(number)}" in build.log
    assert all(is_zombie(int(pid)) for pid in (control / "begun").read_text().split())
    assert site.left() == []


def test_removal_after_a_kill_leaves_nothing_even_where_no_version_was_known(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    build = site.start(package="some-tasks")
    until(lambda: "step 3 of 4" in build.log, FOREVER_SECONDS)
    build.kill()
    site.start(action="remove", package="some-tasks").done()
    assert site.left() == []


def test_killed_while_it_removes_or_makes_again(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    known = {"package": "some-tasks", "version": "1.0"}
    made = site.start(package="some-tasks").done()
    for action, words in [("remove", "step 1"), ("rebuild", "step 1"), ("rebuild", "step 2"), ("rebuild", "step 3")]:
        build = site.start(action=action, keep=True, **known)
        until(lambda b=build, w=words: w in b.log or b.process.poll() is not None, FOREVER_SECONDS)  # type: ignore[misc]
        build.kill()
        if action == "rebuild":
            assert site.start(action="rebuild", **known).done()["freeze"] == made["freeze"]
        site.start(action="remove", keep=True, **known).done()
    assert [str(path) for path in Path(made["folder"]).iterdir()] == [made["folder"] + "/freeze.txt"]
    assert [path.name for path in site.root.iterdir()] == ["some-tasks"]


def test_ten_at_once_of_which_two_are_the_same(site: BuildingSite) -> None:
    site.index.add("some-needs", "1.0")
    for number in range(8):
        site.index.add_tasks(f"tasks-{number}", "1.0", needs=("some-needs",))
    builds = [site.start(f"env{number}", package=f"tasks-{number}") for number in range(8)]
    # The same package twice as two environments, and the same environment twice.
    builds += [site.start("env9", package="tasks-7"), site.start("env0", package="tasks-0")]
    made = [build.done() for build in builds]
    assert all(one["freeze"].startswith("some-needs==1.0\n") for one in made)
    assert sorted([made[0]["made_before"], made[9]["made_before"]]) == [False, True]
    assert {one["folder"] for one in made} == {str(path.parent) for path in site.root.glob("*/*/*/ready")}
    assert len(list(site.root.glob("*/*/*"))) == 9
    assert not (site.root / ".locks").exists()
    assert not (site.root / ".scratch").exists()


def as_user(user: pwd.struct_passwd) -> dict[str, Any]:
    """How to start a builder as somebody who may not enter our own folders."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "interpreter": SYSTEM_PYTHON}


@pytest.fixture
def open_site() -> Iterator[BuildingSite]:
    """A site that another user may enter and change."""
    folder = Path(tempfile.mkdtemp(prefix="stoker-test-building-"))
    folder.chmod(0o755)
    made = BuildingSite(folder / "site")
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root; without it all tests are one's own")
@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
def test_another_user_makes_it_with_the_uv_that_was_sent(open_site: BuildingSite, *, with_uv: bool) -> None:
    site = open_site
    site.index.add_tasks("some-tasks", "1.0")
    nobody = pwd.getpwnam("nobody")
    uv = site.folder / "uv"
    shutil.copyfile(UV, uv)  # as staged: not executable
    for path in (site.folder, site.folder / "home", uv):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    build = site.start(
        package="some-tasks", uv=str(uv) if with_uv else None, python=SYSTEM_PYTHON, more=as_user(nobody)
    )
    made = build.done()
    assert made["installer"].startswith("uv" if with_uv else "pip")
    assert {path.lstat().st_uid for path in site.root.rglob("*")} == {nobody.pw_uid}
    subprocess.run([*made["command"], "-c", "import some_tasks"], check=True, cwd="/")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_folder_that_may_not_be_written_is_said(open_site: BuildingSite) -> None:
    site = open_site
    site.index.add_tasks("some-tasks", "1.0")
    site.root.mkdir()
    nobody = pwd.getpwnam("nobody")
    code, text = site.start(package="some-tasks", python=SYSTEM_PYTHON, more=as_user(nobody)).failed()
    assert code == "not_permitted"
    assert str(site.root) in text
