"""pixi projects, with a stand-in for pixi that solves and installs for real."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.executor.building.pixi_projects import cut_down
from tests.process.builder.test_creating import run_task
from tests.workshop import until
from tests.workshop.building import FOREVER_SECONDS, BuildingSite
from tests.workshop.packages import task_files
from tests.workshop.pixi_projects import PixiProjects

VARIABLES = {"PIXI_CONCURRENT_SOLVES": "1", "PIXI_CONCURRENT_DOWNLOADS": "1", "TOKIO_WORKER_THREADS": "1"}
KNOWN = {"package": "some-tasks", "version": "1.0"}


class PixiSite(PixiProjects):
    """What pixi projects need, and builders that work on them."""

    def __init__(self, site: BuildingSite) -> None:
        super().__init__(site.folder.parent)
        self.site = site
        self.cache = site.folder.parent / "pixi-cache"

    def source(self, archive: Path, **more: Any) -> dict[str, Any]:
        settings = {"home": str(self.home), "cache_dir": str(self.cache), "variables": VARIABLES}
        return self.site.sent(archive, environment="default", **settings, **more)

    def create(self, archive: Path, environment_id: str = "env1", **more: Any) -> dict[str, Any]:
        return self.site.start(environment_id, source=self.source(archive, **more)).done()


@pytest.fixture
def pixi(site: BuildingSite) -> PixiSite:
    return PixiSite(site)


def test_a_project_without_a_lock_file_is_solved_and_its_task_runs_activated(pixi: PixiSite) -> None:
    made = pixi.create(pixi.archive())
    assert (made["package"], made["version"], made["installer"]) == ("some-tasks", "1.0", "pixi")
    assert made["freeze"] == "some-needs==1.0\nsome-tasks==1.0\n"
    assert "some-needs" in made["lock"]
    (command,) = made["command"]
    assert "CONDA_PREFIX" in Path(command).read_text()
    assert run_task(made, "look.py", pixi.site.folder)["image_list_updates"]


def test_what_pixi_says_for_people_is_in_the_log_and_not_in_the_wrapper(pixi: PixiSite) -> None:
    build = pixi.site.start(source=pixi.source(pixi.archive()))
    made = build.done()
    assert "WARN it's a word for people" in build.log
    wrapper = Path(made["command"][0]).read_text()
    assert "WARN" not in wrapper
    assert "\nexport PYTHONNOUSERSITE=1\nexec python" in wrapper
    assert run_task(made, "look.py", pixi.site.folder)["image_list_updates"]


def test_tasks_are_looked_for_as_they_are_run_with_all_that_the_activation_sets(pixi: PixiSite) -> None:
    pixi.channel.add_behind_activation("other-tasks", "1.0", task_files("other_tasks"))
    pixi.channel.index()
    project = pixi.project().replace("some-tasks", "other-tasks")
    archive = pixi.archive(**{"pixi.toml": project}, stem="other-tasks-1.0")
    made = pixi.create(archive)
    assert Path(made["package_folder"]).parts[-2:] == ("opt", "other_tasks")
    assert run_task(made, "look.py", pixi.site.folder)["image_list_updates"]


def test_a_project_that_is_cut_down_makes_pixi_warn_of_nothing(pixi: PixiSite) -> None:
    more = '[feature.dev.dependencies]\nsome-needs = "*"\n[target.osx-arm64.dependencies]\nsome-needs = "*"\n'
    project = (
        pixi.project().replace('"linux-64"', '"linux-64", "osx-arm64"') + more + '[environments]\ndev = ["dev"]\n'
    )
    cut = cut_down("pixi.toml", project, environment="default", platform="linux-64")
    archive = pixi.archive(**{"pixi.toml": project})
    build = pixi.site.start(source=pixi.source(archive, project_files={"pixi.toml": cut}))
    build.done()
    assert [line for line in build.log.splitlines() if "WARN" in line] == [" WARN it's a word for people; exit 3"]


def test_no_file_is_shared_with_pixis_cache(pixi: PixiSite) -> None:
    archive = pixi.archive()
    made = pixi.create(archive)
    for path in Path(made["folder"]).rglob("*"):
        assert path.is_symlink() or path.is_dir() or path.stat().st_nlink == 1, path
    (Path(made["package_folder"]) / "look.py").write_text("ruined")
    assert run_task(pixi.create(archive, "env2"), "look.py", pixi.site.folder)["image_list_updates"]


def test_a_lock_file_is_kept_to_although_newer_versions_came(pixi: PixiSite) -> None:
    lock = pixi.create(pixi.archive())["lock"]
    pixi.publish_needs("2.0")
    both = pixi.archive(**{"pixi.toml": pixi.project(), "pixi.lock": lock})
    assert pixi.create(both, "locked")["freeze"] == "some-needs==1.0\nsome-tasks==1.0\n"
    assert pixi.create(both, "free", use_lock=False)["freeze"] == "some-needs==2.0\nsome-tasks==1.0\n"


def test_made_again_it_has_the_same_lock_file(pixi: PixiSite) -> None:
    source = pixi.source(pixi.archive())
    site = pixi.site
    made = site.start(source=source).done()
    site.start(action="remove", keep=True, source=source, **KNOWN).done()
    assert not (Path(made["folder"]) / "project" / ".pixi").exists()
    pixi.publish_needs("2.0")
    again = site.start(action="rebuild", source=source, **KNOWN).done()
    same = ("lock", "freeze", "manifest", "command", "package_folder")
    assert {name: again[name] for name in same} == {name: made[name] for name in same}
    site.start(action="remove", source=source, **KNOWN).done()
    assert site.left() == []


def test_it_is_compiled_before_it_is_ready_where_that_is_asked_for(pixi: PixiSite) -> None:
    build = pixi.site.start(source=pixi.source(pixi.archive()), compiled=True)
    made = build.done()
    assert "step 5 of 5: compile to bytecode" in build.log
    assert list(Path(made["package_folder"]).glob("__pycache__/look.*.pyc"))


def test_the_project_file_that_is_sent_replaces_the_archives(pixi: PixiSite) -> None:
    archive = pixi.archive(**{"pixi.toml": pixi.project("9.*")})
    made = pixi.create(archive, project_files={"pixi.toml": pixi.project()})
    assert made["freeze"].endswith("some-tasks==1.0\n")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"README.md": ""}, "pixi_project_invalid"),
        ({"pixi.toml": "[workspace"}, "pixi_failed"),
        ({"pixi.toml": "WANTED 9.*"}, "pixi_failed"),
    ],
)
def test_a_project_that_cannot_be_made_leaves_nothing(pixi: PixiSite, files: dict[str, str], code: str) -> None:
    texts = {name: pixi.project(text[7:]) if text.startswith("WANTED") else text for name, text in files.items()}
    build = pixi.site.start(source=pixi.source(pixi.archive(**texts)))
    assert build.failed()[0] == code
    assert pixi.site.left() == []


def test_an_archive_whose_top_folder_differs_leaves_nothing(pixi: PixiSite) -> None:
    archive = pixi.archive().rename(pixi.folder / "other-tasks-1.0.tar.gz")
    assert pixi.site.start(source=pixi.source(archive)).failed()[0] == "archive_top_folder_differs"
    assert pixi.site.left() == []


def test_a_pixi_that_is_not_there_is_said(pixi: PixiSite) -> None:
    archive = pixi.archive()
    source = pixi.source(archive) | {"home": "/no/such/pixi"}
    code, text = pixi.site.start(source=source).failed()
    assert (code, text) == ("pixi_failed", "/no/such/pixi/bin/pixi is not there, or cannot be started")
    assert pixi.site.left() == []


@pytest.mark.parametrize("words", ["step 1", "step 2", "has been installed", "step 4"])
def test_killed_at_any_point_and_repeated(pixi: PixiSite, words: str) -> None:
    source = pixi.source(pixi.archive())
    build = pixi.site.start(source=source)
    until(lambda: words in build.log or build.process.poll() is not None, FOREVER_SECONDS)
    build.kill()
    made = pixi.site.start(source=source).done()
    ready = json.loads((Path(made["folder"]) / "ready").read_text())
    assert ready["freeze_sha256"] == made["freeze_sha256"]
    assert sorted(path.name for path in pixi.site.root.iterdir()) == ["some-tasks"]
