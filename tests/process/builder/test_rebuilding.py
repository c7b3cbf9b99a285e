"""Deactivated and made again: exactly what it was, or an honest failure that keeps what there is."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.process.builder.test_creating import INSTALLERS
from tests.workshop.building import UV, BuildingSite
from tests.workshop.packages import make_wheel, task_files

KNOWN = {"package": "some-tasks", "version": "1.0"}


def index_of(site: BuildingSite) -> None:
    site.index.add("some-needs", "1.0")
    site.index.add_tasks("some-tasks", "1.0", needs=("some-needs",))


def deactivate(site: BuildingSite, **request: Any) -> dict[str, Any]:
    return site.start(action="remove", keep=True, **(KNOWN | request)).done()


@INSTALLERS
def test_it_is_what_it_was_although_newer_versions_came(site: BuildingSite, uv: str | None) -> None:
    index_of(site)
    made = site.start(package="some-tasks", uv=uv).done()
    kept = deactivate(site)
    assert kept["disk_bytes"] < made["disk_bytes"]
    assert sorted(path.name for path in Path(made["folder"]).iterdir()) == ["freeze.txt"]
    site.index.add("some-needs", "1.1")
    site.index.add_tasks("some-tasks", "1.1", needs=("some-needs>1.0",))
    again = site.start(action="rebuild", uv=uv, **KNOWN).done()
    same = ("freeze", "freeze_sha256", "manifest", "command", "folder", "package_folder", "python_version")
    assert {name: again[name] for name in same} == {name: made[name] for name in same}
    assert (Path(made["folder"]) / "freeze.txt").read_text() == made["freeze"]


def test_what_was_made_with_uv_can_be_made_again_with_pip(site: BuildingSite) -> None:
    index_of(site)
    made = site.start(package="some-tasks", uv=UV).done()
    deactivate(site)
    assert site.start(action="rebuild", uv=None, **KNOWN).done()["freeze"] == made["freeze"]


def test_a_wheel_is_taken_from_what_was_kept(site: BuildingSite) -> None:
    site.index.add("some-needs", "1.0")
    wheel = make_wheel(site.folder, "some-tasks", "1.0", task_files("some_tasks"), needs=("some-needs",))
    source = site.sent(wheel)
    made = site.start(source=source).done()
    wheel.unlink()
    deactivate(site, source=source)
    again = site.start(action="rebuild", source=source, **KNOWN).done()
    assert again["freeze"] == made["freeze"]
    assert again["manifest"] == made["manifest"]


def test_versions_that_cannot_be_had_any_more_leave_what_was_kept(site: BuildingSite) -> None:
    index_of(site)
    made = site.start(package="some-tasks", pip_cache_dir=None).done()
    deactivate(site)
    (site.index.folder / "some-needs" / "some_needs-1.0-py3-none-any.whl").unlink()
    (site.index.folder / "some-needs" / "index.html").write_text("")
    code, text = site.start(action="rebuild", pip_cache_dir=str(site.folder / "empty"), **KNOWN).failed()
    assert code == "requirements_contradict"
    assert "some-needs" in text
    assert [path.name for path in Path(made["folder"]).iterdir()] == ["freeze.txt"]


def test_another_freeze_is_a_failure(site: BuildingSite) -> None:
    index_of(site)
    made = site.start(package="some-tasks").done()
    deactivate(site)
    freeze = made["freeze"].replace("some-needs==1.0", "Some-Needs==1.0")
    assert site.start(action="rebuild", freeze=freeze, **KNOWN).failed()[0] == "freeze_differs"
    assert not (Path(made["folder"]) / "venv").exists()
    assert site.start(action="rebuild", freeze=made["freeze"], **KNOWN).done()["freeze"] == made["freeze"]


def test_nothing_is_kept_of_what_was_never_made(site: BuildingSite) -> None:
    assert site.start(action="rebuild", **KNOWN).failed()[0] == "environment_not_found"
    assert site.start(action="measure", **KNOWN).failed()[0] == "environment_not_found"
    assert site.left() == []


def test_a_freeze_from_elsewhere_makes_it_where_the_folder_is_gone(site: BuildingSite) -> None:
    index_of(site)
    made = site.start(package="some-tasks").done()
    site.start(action="remove", **KNOWN).done()
    assert site.left() == []
    again = site.start(action="rebuild", freeze=made["freeze"], **KNOWN).done()
    assert again["freeze"] == made["freeze"]


@pytest.mark.parametrize("keep", [True, False], ids=["deactivated", "deleted"])
def test_removing_may_be_repeated_and_is_measured(site: BuildingSite, *, keep: bool) -> None:
    index_of(site)
    site.start("other", package="some-tasks").done()
    made = site.start(package="some-tasks").done()
    measured = site.start(action="measure", **KNOWN).done()
    assert (measured["disk_bytes"], measured["files"]) == (made["disk_bytes"], made["files"])
    first = site.start(action="remove", keep=keep, **KNOWN).done()
    assert site.start(action="remove", keep=keep, **KNOWN).done() == first
    assert (first["disk_bytes"] == 0) is not keep
    ready = json.loads((site.root / "some-tasks" / "1.0" / "other" / "ready").read_text())
    assert ready["environment_id"] == "other"
