"""What cannot be made: each has its own code and words, and nothing of it is left on disk."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.manifest import check_executables, read_manifest
from shared.remote.builder.packages.wheels import check_wheel
from shared.remote.common.processes import is_zombie
from tests.workshop.building import BuildingSite
from tests.workshop.packages import MANIFEST, make_wheel, manifest, task_files


def refused(site: BuildingSite, **request: Any) -> tuple[str, str]:
    """Return code and words of the failure, of which nothing may be left."""
    build = site.start(**request)
    code, text = build.failed()
    assert not site.root.exists() or site.left() == []
    assert f"failed: {text}" in build.log
    return code, text


@pytest.mark.parametrize(
    "name", ["a; rm -rf /", "$(id)", "../up", "-r", "a b", "", "a\nb", "x" * 300, "näme", ".", "a/b"]
)
def test_a_name_that_is_none(site: BuildingSite, name: str) -> None:
    code, _ = refused(site, package=name)
    assert code == "package_name_invalid"


@pytest.mark.parametrize("version", ["1.0; id", "../..", "1.0 || 2", "-1", "1/2"])
def test_a_version_that_is_none(site: BuildingSite, version: str) -> None:
    assert refused(site, package="some-tasks", version=version)[0] == "request_invalid"


def test_a_package_that_the_index_does_not_have(site: BuildingSite) -> None:
    assert refused(site, package="no-such-tasks") == (
        "package_not_found",
        "the package index has no package no-such-tasks for this Python",
    )


@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
def test_a_version_that_the_index_does_not_have(site: BuildingSite, *, with_uv: bool) -> None:
    site.index.add_tasks("some-tasks", "1.9")
    site.index.add_tasks("some-tasks", "1.10")
    more = {} if with_uv else {"uv": None}
    assert refused(site, package="some-tasks", version="3.0", **more) == (
        "version_not_found",
        "some-tasks has no version 3.0 for this Python; the newest one is 1.10",
    )


def test_an_index_that_cannot_be_reached(site: BuildingSite) -> None:
    site.environment |= {"UV_HTTP_RETRIES": "0"}
    code, _ = refused(site, package="some-tasks", index_urls=["http://127.0.0.1:9/simple"])
    assert code == "index_unreachable"


def test_an_interpreter_that_is_not_there_or_is_none(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0")
    assert refused(site, package="some-tasks", python="/no/such/python")[0] == "python_not_usable"
    assert refused(site, package="some-tasks", python="/bin/false")[0] == "python_not_usable"
    assert refused(site, package="some-tasks", python="/bin/false", uv=None)[0] == "python_not_usable"


def test_pins_that_contradict_each_other(site: BuildingSite) -> None:
    source = {"type": "pypi", "pre_pins": {"some-needs": "1.0"}, "post_pins": {"Some_Needs": "1.1"}}
    assert refused(site, package="some-tasks", source=source) == (
        "pins_contradict",
        "Some_Needs is pinned to 1.0 and to 1.1",
    )


@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
def test_a_pin_that_contradicts_the_package(site: BuildingSite, *, with_uv: bool) -> None:
    site.index.add("some-needs", "1.0")
    site.index.add("some-needs", "2.0")
    site.index.add_tasks("some-tasks", "1.0", needs=("some-needs>=2",))
    source = {"type": "pypi", "pre_pins": {"some-needs": "1.0"}}
    more = {} if with_uv else {"uv": None}
    code, text = refused(site, package="some-tasks", source=source, **more)
    assert code == "requirements_contradict"
    assert "some-needs" in text


def test_a_package_that_needs_something_that_cannot_be_had(site: BuildingSite) -> None:
    site.index.add_tasks("some-tasks", "1.0", needs=("nowhere-to-be-found",))
    code, text = refused(site, package="some-tasks")
    assert code == "requirements_contradict"
    assert "nowhere-to-be-found" in text


def test_a_build_that_fails_half_way(site: BuildingSite) -> None:
    control = site.folder / "control"
    site.index.add_slow(control)
    (control / "go-on").touch()
    (control / "fail").touch()
    code, text = refused(site, package="slow-tasks")
    assert code == "install_failed"
    assert "the compiler is not happy" in text


def test_a_build_over_its_time_limit_ends_with_all_that_it_started(site: BuildingSite) -> None:
    control = site.folder / "control"
    site.index.add_slow(control)
    code, text = refused(site, package="slow-tasks", time_limit_seconds=3)
    assert (code, text) == ("time_limit", "it took longer than its limit of 3 seconds")
    for pid in (control / "begun").read_text().split() if (control / "begun").exists() else []:
        assert is_zombie(int(pid))


MANIFESTS: dict[str, tuple[str, Any]] = {
    "no JSON": ("manifest_invalid", "{"),
    "not what others call JSON": ("manifest_invalid", json.dumps(manifest(more=float("nan")))),
    "another version": ("manifest_invalid", manifest() | {"manifest_version": "1"}),
    "no tasks": ("manifest_invalid", manifest() | {"task_list": []}),
    "no name": ("manifest_invalid", manifest({"executable_parallel": "look.py"})),
    "no executable": ("manifest_invalid", manifest({"name": "a"})),
    "a type that does not fit": (
        "manifest_invalid",
        manifest({"name": "a", "type": "compound", "executable_parallel": "look.py"}),
    ),
    "a type of its own": (
        "manifest_invalid",
        manifest({"name": "a", "type": "serial", "executable_parallel": "look.py"}),
    ),
    "a path that leads out": ("manifest_invalid", manifest({"name": "a", "executable_parallel": "../../x.py"})),
    "an absolute path": ("manifest_invalid", manifest({"name": "a", "executable_parallel": "/bin/true"})),
    "an executable that is not there": (
        "manifest_executable_missing",
        manifest({"name": "a", "executable_parallel": "gone.py"}),
    ),
    "a name twice": (
        "manifest_duplicate_task",
        manifest({"name": "a", "executable_parallel": "look.py"}, {"name": "a", "executable_parallel": "look.py"}),
    ),
}


@pytest.mark.parametrize("case", ["no JSON", "an executable that is not there", "a name twice"])
def test_a_manifest_that_cannot_be_used(site: BuildingSite, case: str) -> None:
    expected, content = MANIFESTS[case]
    site.index.add_tasks("some-tasks", "1.0", content)
    assert refused(site, package="some-tasks")[0] == expected


@pytest.mark.parametrize("case", MANIFESTS)
def test_what_is_wrong_with_a_manifest_is_found(case: str, tmp_path: Path) -> None:
    expected, content = MANIFESTS[case]
    for name, text in task_files("some_tasks", content).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    folder = tmp_path / "some_tasks"
    with pytest.raises(Failure) as caught:
        check_executables(read_manifest(str(folder / MANIFEST)), str(folder), lambda name: (folder / name).is_file())
    assert caught.value.code == expected


def test_a_package_without_a_manifest(site: BuildingSite) -> None:
    site.index.add("some-tasks", "1.0")
    code, text = refused(site, package="some-tasks")
    assert code == "manifest_missing"
    assert text == "some-tasks 1.0 holds no __FRACTAL_MANIFEST__.json: it is not a task package"


def test_a_package_with_two_manifests(site: BuildingSite) -> None:
    site.index.add("some-tasks", "1.0", task_files("some_tasks") | task_files("other_tasks"))
    assert refused(site, package="some-tasks")[0] == "manifest_ambiguous"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("some_tasks-1.0.whl", "wheel_name_invalid"),
        ("some_tasks.whl", "wheel_name_invalid"),
        ("some tasks-1.0-py3-none-any.whl", "wheel_name_invalid"),
        ("some_tasks-1.0-py3-none-any.whl.exe", "wheel_name_invalid"),
        ("some_tasks-1.0.tar.gz", "wheel_is_sdist"),
        ("other_tasks-1.0-py3-none-any.whl", "wheel_name_differs"),
        ("some_tasks-2.0-py3-none-any.whl", "wheel_name_differs"),
    ],
)
def test_a_wheel_with_a_wrong_name(site: BuildingSite, name: str, code: str) -> None:
    wheel = make_wheel(site.folder, "some-tasks", "1.0", task_files("some_tasks"))
    source = {"type": "wheel", "file": str(wheel.rename(site.folder / name))}
    assert refused(site, source=source)[0] == code


def test_a_wheel_that_is_no_zip_file(site: BuildingSite) -> None:
    wheel = site.folder / "some_tasks-1.0-py3-none-any.whl"
    with tarfile.open(wheel, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("some_tasks-1.0/PKG-INFO"), io.BytesIO())
    assert refused(site, source=site.sent(wheel))[0] == "wheel_not_zip"
    wheel.write_bytes(b"")
    assert refused(site, source=site.sent(wheel))[0] == "wheel_not_zip"


def test_a_wheel_that_would_fill_the_disk(site: BuildingSite) -> None:
    wheel = make_wheel(site.folder, "some-tasks", "1.0", task_files("some_tasks"))
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some_tasks/zeros", bytes(200 * 1024 * 1024))
    code, text = refused(site, source=site.sent(wheel))
    assert code == "wheel_too_large"
    assert "more than 200 times" in text


@pytest.mark.parametrize("member", ["some_tasks-1.0.dist-info/METADATA", "some_tasks/zeros"])
def test_a_wheel_that_holds_more_than_its_directory_says(tmp_path: Path, member: str) -> None:
    files = task_files("some_tasks") | {"some_tasks/zeros": "0" * (40 * 1024 * 1024)}
    wheel = make_wheel(tmp_path, "some-tasks", "1.0", files)
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read("some_tasks-1.0.dist-info/METADATA") + b"x" * (40 * 1024 * 1024)
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        if member.endswith("METADATA"):
            archive.filelist.remove(archive.NameToInfo.pop(member))
            archive.writestr(member, content)
        # The directory is written anew when the file is closed.
        archive.getinfo(member).file_size = 100
        archive.comment = b"changed"
    tracemalloc.start()
    try:
        with pytest.raises(Failure, match=r"holds more in .* than the 100 bytes") as failed:
            check_wheel(str(wheel))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert failed.value.code == "wheel_too_large"


def test_a_wheel_that_is_packed_in_a_way_whose_end_cannot_be_foreseen(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "some-tasks", "1.0", task_files("some_tasks"))
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("some_tasks/zeros", bytes(1000))
    with pytest.raises(Failure) as failed:
        check_wheel(str(wheel))
    assert failed.value.code == "wheel_unsafe"


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "some_tasks/../../out.py", "some_tasks\\..\\out.py"])
def test_a_wheel_with_a_file_outside_of_itself(site: BuildingSite, name: str) -> None:
    wheel = make_wheel(site.folder, "some-tasks", "1.0", task_files("some_tasks") | {name: ""})
    assert refused(site, source=site.sent(wheel))[0] == "wheel_unsafe"


def test_a_request_that_is_not_complete(site: BuildingSite) -> None:
    assert refused(site, package="some-tasks", action="paint") == (
        "request_invalid",
        "action must be one of create, rebuild, remove, measure: 'paint'",
    )
    assert refused(site, package="some-tasks", environment_id="../x")[0] == "request_invalid"
    assert refused(site, package="some-tasks", root="relative")[0] == "request_invalid"
    assert refused(site, package="some-tasks", source={"type": "pypi", "pre_pins": {"a": 1}})[0] == "request_invalid"


def test_an_existing_environment_that_is_none(site: BuildingSite) -> None:
    gone = {"type": "existing", "python": "/no/such/environment"}
    assert refused(site, package="some-tasks", source=gone)[0] == "environment_not_found"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", site.folder / "theirs"], check=True)
    empty = {"type": "existing", "python": str(site.folder / "theirs")}
    assert refused(site, package="some-tasks", source=empty)[0] == "package_not_found"


@pytest.fixture
def small_disk(site: BuildingSite) -> Iterator[Path]:
    site.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(site.root)], check=True)
    try:
        yield site.root
    finally:
        subprocess.run(["umount", "--lazy", str(site.root)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk(site: BuildingSite, small_disk: Path) -> None:
    site.index.add("much", "1.0", {"much/__init__.py": "", "much/data": os.urandom(6_000_000).hex()})
    site.index.add_tasks("some-tasks", "1.0", needs=("much",))
    assert refused(site, package="some-tasks")[0] == "disk_full"
    assert list(small_disk.iterdir()) == []
    (small_disk / "filler").write_bytes(bytes(2_990_000))
    build = site.start(package="some-tasks", uv=None)
    assert build.failed()[0] == "disk_full"
    assert site.left() == ["filler"]
