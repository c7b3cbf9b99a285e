"""From a request and a resource to what the builder is asked, and from its answer to what is stored."""

import io
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.executor.building.builds import Site, creation, rebuilding, removal
from services.executor.building.pixi_projects import cut_down
from services.executor.building.results import Built, command_of, read_result
from services.executor.building.uploads import read_archive, read_wheel
from services.executor.building.versions import canonical_name, parse_version
from shared.remote.builder.request import Fields, Request
from stoker.contracts.environments import EnvironmentCreate
from stoker.contracts.jobs import Reason
from stoker.contracts.resources import ResourceSpec
from stoker.errors import Invalid
from tests.workshop.packages import make_wheel, task_files
from tests.workshop.registry import seed

SITE = Site(root="/tasks", uv="/opt/uv", index_urls=["https://index.example.org/simple"], time_limit_seconds=60)
PIXI = {"default_version": "0.50.0", "versions": {"0.50.0": "/opt/pixi/0.50.0"}, "PIXI_CONCURRENT_SOLVES": 1}
PROJECT = """\
[workspace]
name = "some-tasks"
channels = ["conda-forge"]
platforms = ["osx-arm64", "linux-64"]

[dependencies]
python = ">=3.11"

[environments]
default = { solve-group = "all" }
dev = ["dev"]
"""


def asked(**fields: Any) -> EnvironmentCreate:
    return msgspec.convert({"profile_id": "p", **fields}, EnvironmentCreate)  # type: ignore[no-any-return]


def spec(**more: Any) -> ResourceSpec:
    python = {"default_version": "3.12", "versions": {"3.11": "/py/3.11", "3.12": "/py/3.12"}}
    return msgspec.convert(  # type: ignore[no-any-return]
        seed("resource_local") | {"tasks_python_config": python} | more, ResourceSpec
    )


def test_what_the_builder_is_asked_is_what_it_understands() -> None:
    create = asked(source="pypi", package="Some.Tasks", version="1.0", extras=["gpu"], pre_pins={"numpy": "1.26"})
    arguments = creation("e1", create, spec(tasks_pip_cache_dir="/cache"), SITE)
    request = Request(Fields(arguments))
    assert (request.package, request.version, request.python) == ("Some.Tasks", "1.0", "/py/3.12")
    assert (request.uv, request.pip_cache_dir) == ("/opt/uv", "/cache")
    assert request.source.pins("pre_pins") == ["numpy==1.26"]
    remade = rebuilding(arguments, package="some-tasks", version="1.0", freeze="a==1\n", uv="/newer/uv")
    again = Request(Fields(remade))
    assert (again.action, again.known_package(), again.freeze) == ("rebuild", ("some-tasks", "1.0"), "a==1\n")
    assert again.uv == "/newer/uv"  # the service may have been upgraded since
    gone = Request(Fields(removal(arguments, package="some-tasks", version=None, keep=False)))
    assert (gone.action, gone.version, gone.keep) == ("remove", None, False)


def test_the_newer_spelling_of_the_cache_folder_wins() -> None:
    python = {"default_version": "3", "versions": {"3": "/py"}, "pip_cache_dir": "/newer"}
    arguments = creation("e1", asked(source="pypi", package="a"), spec(tasks_python_config=python), SITE)
    assert arguments["pip_cache_dir"] == "/newer"


def test_a_python_that_is_not_offered_is_said() -> None:
    with pytest.raises(Invalid, match=r"Python 3\.9 is not offered here") as caught:
        creation("e1", asked(source="pypi", package="a", python_version="3.9"), spec(), SITE)
    assert caught.value.errors[0].message == "must be one of 3.11, 3.12, the versions of this resource"


def test_an_existing_environment_and_a_wheel() -> None:
    there = creation("e1", asked(source="existing", package="a", path="/theirs"), spec(), SITE)
    assert there["source"] == {"type": "existing", "python": "/theirs"}
    sent = creation("e1", asked(source="wheel", file_name="a-1-py3-none-any.whl", content="eA=="), spec(), SITE)
    assert sent["source"]["file"] == "a-1-py3-none-any.whl"


def test_a_pixi_project_is_asked_for_with_the_resources_settings() -> None:
    create = asked(source="pixi", file_name="some-tasks-1.0.tar.gz", content="eA==")
    arguments = creation("e1", create, spec(tasks_pixi_config=PIXI), SITE, {"pixi.toml": PROJECT})
    source = arguments["source"]
    assert (source["home"], source["environment"]) == ("/opt/pixi/0.50.0", "default")
    assert source["variables"] == {
        "PIXI_CONCURRENT_SOLVES": "1",
        "PIXI_CONCURRENT_DOWNLOADS": "4",
        "TOKIO_WORKER_THREADS": "2",
    }
    assert "osx-arm64" not in source["project_files"]["pixi.toml"]
    with pytest.raises(Invalid, match="has no pixi"):
        creation("e1", create, spec(), SITE, {"pixi.toml": PROJECT})
    other = asked(source="pixi", file_name="a-1.tar.gz", content="eA==", pixi_version="0.1")
    with pytest.raises(Invalid, match=r"pixi 0\.1 is not offered here"):
        creation("e1", other, spec(tasks_pixi_config=PIXI), SITE, {"pixi.toml": PROJECT})


def test_a_project_keeps_one_platform_and_one_environment() -> None:
    text = cut_down("pixi.toml", PROJECT, environment="default", platform="linux-64")
    assert 'platforms = [\n    "linux-64",\n]' in text
    assert "dev" not in text
    in_pyproject = PROJECT.replace("[workspace]", "[tool.pixi.project]").replace("[dep", "[tool.pixi.dep")
    in_pyproject = in_pyproject.replace("[environments]", "[tool.pixi.environments]")
    assert "osx" not in cut_down("pyproject.toml", in_pyproject, environment="dev", platform="linux-64")


def test_what_the_kept_environment_does_not_use_is_left_out() -> None:
    project = (
        PROJECT.replace('dev = ["dev"]', 'dev = { features = ["dev", "both"] }')
        + """
[tasks]
start = "run"
[feature.dev]
platforms = ["linux-64", "osx-arm64"]
tasks = { check = "run" }
[feature.both.target.win-64.dependencies]
windows = "*"
[feature.both.target.unix.dependencies]
everywhere = "*"
[feature.unused.dependencies]
never = "*"
[target.osx-arm64.dependencies]
elsewhere = "*"
[target.linux]
dependencies = { here = "*" }
"""
    )
    kept = tomllib.loads(cut_down("pixi.toml", project, environment="dev", platform="linux-64"))
    assert kept["environments"] == {"dev": {"features": ["dev", "both"]}}
    assert kept["feature"] == {
        "dev": {"platforms": ["linux-64"]},
        "both": {"target": {"unix": {"dependencies": {"everywhere": "*"}}}},
    }
    assert kept["target"] == {"linux": {"dependencies": {"here": "*"}}}
    assert "tasks" not in kept
    assert "feature" not in tomllib.loads(cut_down("pixi.toml", project, environment="default", platform="linux-64"))
    other = project.replace('platforms = ["linux-64", "osx-arm64"]', 'platforms = ["osx-arm64"]')
    with pytest.raises(Invalid, match="feature dev does not support the platform linux-64"):
        cut_down("pixi.toml", other, environment="dev", platform="linux-64")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pixi.toml", "[", "not valid TOML"),
        ("pixi.toml", "", r"no table \[workspace\]"),
        ("pyproject.toml", PROJECT, r"no table \[tool.pixi\]"),
        ("pixi.toml", PROJECT.replace(', "linux-64"', ""), "does not support the platform linux-64"),
    ],
)
def test_a_project_that_is_none_is_said(name: str, text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        cut_down(name, text, environment="default", platform="linux-64")
    with pytest.raises(Invalid, match="has no environment other"):
        cut_down("pixi.toml", PROJECT, environment="other", platform="linux-64")


@pytest.mark.parametrize(
    ("file_name", "inside"),
    [
        ("Some.Tasks-1.0-py3-none-any.whl", "some_tasks-1.0.dist-info"),
        ("some_tasks-1.0-py3-none-any.whl", "Some.Tasks-1.0.dist-info"),
    ],
)
def test_a_wheel_in_another_spelling_is_the_same_package(tmp_path: Path, file_name: str, inside: str) -> None:
    wheel = make_wheel(tmp_path, "some-tasks", "1.0", task_files("some_tasks"))
    content = respelled(wheel.read_bytes(), "some_tasks-1.0.dist-info", inside)
    name = read_wheel(file_name, content)
    assert (canonical_name(name.package), name.version) == ("some-tasks", "1.0")


def respelled(wheel: bytes, folder: str, new: str) -> bytes:
    """The wheel with a folder of another name."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as before, zipfile.ZipFile(changed, "w") as after:
        for member in before.namelist():
            after.writestr(member.replace(f"{folder}/", f"{new}/"), before.read(member))
    return changed.getvalue()


@pytest.mark.parametrize(
    ("files", "slug", "words"),
    [
        ({"some_tasks/__init__.py": ""}, "manifest-missing", "it is not a task package"),
        (task_files("some_tasks", "{"), "manifest-invalid", "the manifest is not JSON"),
        (task_files("some_tasks", {"manifest_version": "1"}), "manifest-invalid", 'manifest_version must be "2"'),
        (
            {k: v for k, v in task_files("some_tasks").items() if not k.endswith("look.py")},
            "manifest-executable-missing",
            "'look.py', which is not in some_tasks",
        ),
        (task_files("some_tasks") | task_files("more_tasks"), "manifest-ambiguous", "more than one manifest"),
    ],
)
def test_a_wheels_manifest_is_judged_when_it_comes(
    tmp_path: Path, files: dict[str, str], slug: str, words: str
) -> None:
    wheel = make_wheel(tmp_path, "some-tasks", "1.0", files)
    with pytest.raises(Invalid) as caught:
        read_wheel(wheel.name, wheel.read_bytes())
    assert caught.value.slug == slug
    assert words in caught.value.message
    assert [error.path for error in caught.value.errors] == ["content"]


def test_what_was_sent_in_the_place_of_a_pixi_project_is_said() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in {"PKG-INFO": "Name: some-tasks\n", "pyproject.toml": "[project]\n"}.items():
            member = tarfile.TarInfo(f"some-tasks-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    with pytest.raises(Invalid, match="is a source distribution, not a pixi project"):
        read_archive("some-tasks-1.0.tar.gz", packed.getvalue())
    with pytest.raises(Invalid, match="is a wheel, not a pixi project"):
        read_archive("some_tasks-1.0-py3-none-any.whl", packed.getvalue())


def test_files_are_looked_at_when_they_come(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "some-tasks", "1.0", task_files("some_tasks"))
    assert read_wheel(wheel.name, wheel.read_bytes()).package == "some_tasks"
    for name, content, slug in [
        (wheel.name, b"no zip", "wheel-not-zip"),
        ("some_tasks-1.0.tar.gz", wheel.read_bytes(), "wheel-is-sdist"),
        ("other_tasks-1.0-py3-none-any.whl", wheel.read_bytes(), "wheel-name-differs"),
        ("../" + wheel.name, wheel.read_bytes(), "invalid-request"),
    ]:
        with pytest.raises(Invalid) as caught:
            read_wheel(name, content)
        assert caught.value.slug == slug
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("some-tasks-1.0/pixi.toml")
        member.size = len(PROJECT)
        archive.addfile(member, io.BytesIO(PROJECT.encode()))
    name, files = read_archive("some-tasks-1.0.tar.gz", packed.getvalue())
    assert (name.package, name.version, files) == ("some-tasks", "1.0", {"pixi.toml": PROJECT})


def test_versions_are_compared_as_versions() -> None:
    assert parse_version("1.0", "version") == parse_version("1.0.0", "version")
    with pytest.raises(Invalid, match="must be a version such as"):
        parse_version("one", "version")
    assert canonical_name("Some_Tasks") == "some-tasks"


def test_what_the_builder_answers_is_an_environment_or_a_reason() -> None:
    environment = {"command": ["/e/python"], "package_folder": "/e/lib/a", "version": "1", "of_a_later_version": 1}
    built = read_result({"format": 1, "outcome": "done", "environment": environment})
    assert isinstance(built, Built)
    assert command_of(built, "tasks/look.py") == ["/e/python", "/e/lib/a/tasks/look.py"]
    failed = {"format": 1, "outcome": "failed", "error": {"code": "disk_full", "text": "the disk is full"}}
    assert read_result(failed) == Reason(code="disk_full", text="the disk is full")
    for nonsense in (None, [], {}, {"format": 2, "outcome": "done"}, {"format": 1, "outcome": "done"}):
        reason = read_result(nonsense)
        assert isinstance(reason, Reason)
        assert reason.code == "builder_failed"
