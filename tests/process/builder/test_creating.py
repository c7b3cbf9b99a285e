"""Environments from names and wheels, with uv and with pip: the same, complete, and nobody else's files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workshop import Workshop, results_of
from tests.workshop.building import UV, BuildingSite
from tests.workshop.packages import make_wheel, manifest, task_files

INSTALLERS = pytest.mark.parametrize("uv", [UV, None], ids=["uv", "pip"])


def run_task(environment: dict[str, Any], executable: str, folder: Path) -> Any:
    """Run a task as a unit would."""
    (folder / "task-args.json").write_text(json.dumps({"zarr_url": "/data/image.zarr"}))
    files = ["--args-json", str(folder / "task-args.json"), "--out-json", str(folder / "task-out.json")]
    script = str(Path(environment["package_folder"]) / executable)
    subprocess.run([*environment["command"], script, *files], check=True)
    return json.loads((folder / "task-out.json").read_text())


@INSTALLERS
def test_the_newest_stable_version_is_made_and_its_task_runs(site: BuildingSite, uv: str | None) -> None:
    for version in ("1.9", "1.10", "2.0rc1"):
        site.index.add_tasks("some-tasks", version, needs=("some-needs>=2",))
    site.index.add("some-needs", "1.0")
    site.index.add("some-needs", "2.5")
    build = site.start(package="Some_Tasks", uv=uv)
    made = build.done()
    assert made["version"] == "1.10"
    assert made["freeze"] == "some-needs==2.5\nsome-tasks==1.10\n"
    assert made["folder"] == str(site.root / "some-tasks" / "1.10" / "env1")
    assert made["installer"].startswith("uv " if uv else "pip")
    assert made["disk_bytes"] > 0
    assert run_task(made, "look.py", site.folder)["image_list_updates"][0]["zarr_url"] == "/data/image.zarr"
    assert "step 4 of 4: look for the tasks\n" in build.log
    assert json.loads((Path(made["folder"]) / "ready").read_text())["freeze_sha256"] == made["freeze_sha256"]
    files = [path for path in Path(made["folder"]).rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if path.stat().st_nlink > 1] == []
    assert not (site.root / ".scratch").exists()
    assert not (site.root / ".locks").exists()


def test_uv_and_pip_make_the_same_of_a_real_package(site: BuildingSite) -> None:
    request = {"package": "testing-tasks-mock", "version": "0.1.5", "index_urls": []}
    one = site.start("with-uv", **request).done()
    other = site.start("with-pip", uv=None, **request).done()
    assert [task["type"] for task in one["manifest"]["task_list"]] == ["non_parallel", "parallel"]
    assert one["freeze"] == other["freeze"]
    assert one["manifest"] == other["manifest"]
    assert "fractal-task-tools==" in one["freeze"]


@INSTALLERS
def test_pins_hold_and_extras_are_installed(site: BuildingSite, uv: str | None) -> None:
    for version in ("1.0", "1.1", "1.2"):
        site.index.add("some-needs", version)
        site.index.add("other-needs", version)
    site.index.add("for-more", "3.0")
    needs = ("some-needs", "other-needs<1.2", 'for-more; extra == "more"')
    site.index.add_tasks("some-tasks", "1.0", needs=needs, extras=("more",))
    # A pin that comes last may break what the package says that it needs: that is what it is for.
    pins = {"pre_pins": {"some-needs": "1.1"}, "post_pins": {"other-needs": "1.2"}}
    source = {"type": "pypi", "extras": ["more"], **pins}
    made = site.start(package="some-tasks", version="1.0", source=source, uv=uv).done()
    assert made["freeze"] == "for-more==3.0\nother-needs==1.2\nsome-needs==1.1\nsome-tasks==1.0\n"


def test_a_wheel_is_installed_with_what_it_needs_and_kept(site: BuildingSite) -> None:
    site.index.add("some-needs", "2.5")
    wheel = make_wheel(site.folder, "My.Tasks", "1.0+local", task_files("my_tasks"), needs=("some-needs",))
    made = site.start(source=site.sent(wheel)).done()
    assert (made["package"], made["version"]) == ("my-tasks", "1.0+local")
    assert made["freeze"] == "My.Tasks==1.0+local\nsome-needs==2.5\n"
    assert (Path(made["folder"]) / "sent" / wheel.name).read_bytes() == wheel.read_bytes()


def test_what_happens_in_an_environment_reaches_no_other_through_the_cache(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    first = site.start("one", package="some-tasks").done()
    (Path(first["package_folder"]) / "look.py").write_text("ruined")
    second = site.start("two", package="some-tasks").done()
    assert run_task(second, "look.py", site.folder)["image_list_updates"]


def test_everybody_may_read_an_environment_and_only_its_owner_change_it(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    # The cache was filled by somebody who hides everything.
    target = ["--target", site.folder / "elsewhere", "--default-index", site.index.url]
    environment = site.environment | {"UV_CACHE_DIR": str(site.cache / "uv")}
    command = [UV, "pip", "install", "--quiet", "--python", sys.executable, *target, "some-tasks"]
    subprocess.run(command, check=True, env=environment, umask=0o077)
    made = site.start(package="some-tasks", more={"umask": 0o077}).done()
    for path in [site.root, *site.root.rglob("*")]:
        mode = path.lstat().st_mode
        if not path.is_symlink():
            assert mode & 0o044 == 0o044, path
            assert mode & 0o022 == 0, path
            assert not path.is_dir() or mode & 0o011 == 0o011, path
    assert made["files"] > 3


@pytest.mark.parametrize("uv", [UV, None])
def test_it_is_compiled_before_it_is_ready_where_that_is_asked_for(site: BuildingSite, uv: str | None) -> None:
    strange = {"some_tasks/for_another_python.py": "print 'hello'\n"}
    site.index.add("some-tasks", "1.0", task_files("some_tasks") | strange)
    known = {"package": "some-tasks", "version": "1.0", "uv": uv}
    plain = site.start("env0", **known).done()
    assert list(Path(plain["folder"]).rglob("*.pyc")) == []

    build = site.start(compiled=True, more={"umask": 0o077}, **known)
    made = build.done()
    assert "step 5 of 5: compile to bytecode" in build.log
    assert made["freeze"] == plain["freeze"]
    assert made["files"] > plain["files"]
    site.start(action="remove", keep=True, **known).done()
    site.start(action="rebuild", compiled=True, **known).done()
    [found] = Path(made["package_folder"]).glob("__pycache__/look.*.pyc")
    assert found.stat().st_mode & 0o044 == 0o044
    assert found.stat().st_mtime <= (Path(made["folder"]) / "ready").stat().st_mtime


def test_an_environment_that_is_there_is_answered_and_not_made_again(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    first = site.start(package="some-tasks").done()
    site.index.add_tasks("some-tasks", "1.1")
    second = site.start(package="some-tasks").done()
    assert second == first | {"made_before": True}
    assert [path.name for path in (site.root / "some-tasks").iterdir()] == ["1.0"]


def test_an_existing_environment_is_looked_at_and_not_touched(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    folder = site.folder / "theirs"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    source = site.folder / "source" / "some_tasks"
    source.mkdir(parents=True)
    for name, text in task_files("some_tasks").items():
        (source.parent / name).write_text(text)
    packages = next((folder / "lib").iterdir()) / "site-packages"
    info = packages / "some_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-tasks\nVersion: 1.0\n")
    (info / "RECORD").write_text("some_tasks.pth,,\n")
    (packages / "some_tasks.pth").write_text(f"{source.parent}\n")
    before = sorted(folder.rglob("*"))
    for path in (folder, folder / "bin" / "python"):
        found = site.start(package="some-tasks", source={"type": "existing", "python": str(path)}).done()
        assert found["package_folder"] == str(source)
        assert (found["folder"], found["version"], found["installer"]) == (str(folder), "1.0", None)
        assert run_task(found, "look.py", site.folder)["image_list_updates"]
    assert sorted(folder.rglob("*")) == before
    assert not site.root.exists()


def test_the_types_of_tasks_are_filled_in(site: BuildingSite) -> None:
    tasks = manifest(
        {"name": "a", "executable_non_parallel": "look.py"},
        {"name": "b", "executable_parallel": "look.py", "a_field_of_another_version": 1},
        {"name": "c", "executable_non_parallel": "look.py", "executable_parallel": "./look.py"},
    )
    site.index.add_tasks("some-tasks", "1.0", content=tasks)
    made = site.start(package="some-tasks").done()
    assert [task["type"] for task in made["manifest"]["task_list"]] == ["non_parallel", "parallel", "compound"]


def test_without_a_uv_that_runs_here_pip_does_the_work(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    foreign = site.folder / "uv"
    foreign.write_bytes(b"\x7fELF of another machine")
    build = site.start(package="some-tasks", uv=str(foreign))
    assert build.done()["installer"] == "pip"
    assert "uv cannot be used here: pip does the work\n" in build.log


def test_the_package_index_of_pips_own_settings_is_used(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    settings = site.folder / "home" / ".config" / "pip"
    settings.mkdir(parents=True)
    (settings / "pip.conf").write_text(f"[global]\nindex-url = {site.index.url}\n")
    for name, uv in (("with-uv", UV), ("with-pip", None)):
        assert site.start(name, package="some-tasks", uv=uv, index_urls=[]).done()["version"] == "1.0"


def test_the_runner_runs_it_and_its_out_file_is_the_result_of_the_unit(site: BuildingSite, tmp_path: Path) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    workshop = Workshop(tmp_path)
    job = workshop.job()
    (job.path / "work" / "builder.py").write_bytes((site.folder / "work" / "builder.py").read_bytes())
    request = {
        "format": 1,
        "action": "create",
        "root": str(site.root),
        "environment_id": "env1",
        "source": {"type": "pypi"},
        "package": "some-tasks",
        "python": sys.executable,
        "uv": UV,
        "pip_cache_dir": str(site.cache),
        "index_urls": [site.index.url],
    }
    files = ["--args-json", "{args_json}", "--out-json", "{out_json}"]
    folder = job.add([sys.executable, "-I", "-S", "builder.py", *files], [request])
    assert workshop.launch(folder).wait() == 0
    result = results_of(folder)[0]
    assert (result["outcome"], result["reason"]) == ("succeeded", None)
    assert result["output"]["environment"]["version"] == "1.0"
    log = "".join(path.read_text() for path in (folder / "logs").iterdir())
    assert f"$ {UV} venv" in log
    workshop.close()
    assert (site.root / "some-tasks" / "1.0" / "env1" / "ready").is_file()
