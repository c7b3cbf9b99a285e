"""What cannot be made, over HTTP: each has its own error, leaves nothing on disk, and nothing in anybody's way."""

import asyncio
import base64
import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker.clients.executor import ExecutorClient
from stoker.contracts.environments import EnvironmentFromPypi
from tests.workshop.environments import log_of, settled
from tests.workshop.packages import Index, make_archive, make_wheel, manifest, task_files
from tests.workshop.serving import World, problem

# What is stored of environments is tested on both databases in `test_environments.py`.
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

WHEEL = "some_tasks-1.0-py3-none-any.whl"
ARCHIVE = "some-tasks-1.0.tar.gz"
PROJECT = '[workspace]\nname = "some-tasks"\nchannels = []\nplatforms = ["linux-64"]\n'


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index(tmp_path / "index")
    made.add_tasks("some-tasks", "1.0")
    return made


@pytest.fixture
async def building(world: World, index: Index) -> AsyncIterator[ExecutorClient]:
    """An executor and a poller; packages come from the folder."""
    async with world.executor(STOKER_PACKAGE_INDEXES=index.url) as client, world.poller():
        yield client


def left_in(world: World) -> list[str]:
    return [str(path) for path in (world.folder / "tasks").rglob("*")]


async def failure(world: World, client: ExecutorClient, package: str, **more: Any) -> tuple[str, str]:
    """Code and words of a creation that fails, of which nothing may be left."""
    create = EnvironmentFromPypi(profile_id=world.profile.id, package=package, **more)
    failed = await settled(client, (await client.create_environment(create)).id)
    assert failed.reason is not None, failed
    assert failed.activity is not None
    assert (failed.state, failed.activity.state, failed.activity.reason) == ("failed", "failed", failed.reason)
    assert f"failed: {failed.reason.text}" in await log_of(client, failed.activity.id)
    return failed.reason.code, failed.reason.text


def zipped(files: dict[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def linked(target: str) -> bytes:
    """An archive with a link."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("some-tasks-1.0/link")
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)
    return packed.getvalue()


def uploads(folder: Path) -> dict[str, tuple[str, str, bytes, str, str]]:
    """Kind, file name, content; field and words of the refusal."""
    wheel = make_wheel(folder, "some-tasks", "1.0", task_files("some_tasks")).read_bytes()

    def packed(files: dict[str, str | bytes]) -> bytes:
        return make_archive(folder / "packed", files).read_bytes()

    good = packed({"some-tasks-1.0/pixi.toml": PROJECT})
    zeros = bytes(60 * 1024 * 1024)
    return {
        "a wheel with a wrong name": ("wheel", "some_tasks-1.0.whl", wheel, "file_name", "NAME-VERSION"),
        "a wheel of something else": ("wheel", "a-1.0-py3-none-any.whl", wheel, "content", "not that wheel"),
        "no zip file": ("wheel", WHEEL, good, "content", "zip"),
        "an sdist": ("wheel", ARCHIVE, good, "file_name", "source distribution"),
        "a zip bomb": ("wheel", WHEEL, zipped({"some_tasks/zeros": zeros}), "content", "times"),
        "a wheel that leads out": ("wheel", WHEEL, zipped({"../out.py": ""}), "content", "out.py"),
        "an archive with another name": ("pixi", "some.zip", good, "file_name", "NAME-VERSION.tar.gz"),
        "no archive": ("pixi", ARCHIVE, wheel, "content", "gz"),
        "a path with ..": ("pixi", ARCHIVE, packed({"some-tasks-1.0/../../out": ""}), "content", ".."),
        "an absolute path": ("pixi", ARCHIVE, packed({"/tmp/out": ""}), "content", "/tmp/out"),
        "a link that leads out": ("pixi", ARCHIVE, linked("../../etc"), "content", "link"),
        "another top folder": ("pixi", "other-tasks-1.0.tar.gz", good, "content", "other-tasks-1.0"),
        "a tar bomb": ("pixi", ARCHIVE, packed({"some-tasks-1.0/zeros": zeros}), "content", "would take more"),
    }


async def test_what_is_wrong_with_a_file_is_told_at_once_each_in_words_of_its_own(
    world: World, tmp_path: Path, building: ExecutorClient
) -> None:
    config = {"default_version": "1.0", "versions": {"1.0": "/opt/pixi/1.0"}}
    await world.registry_client.patch_resource(world.resource.id, {"tasks_pixi_config": config})
    said = set()
    async with world.raw() as http:
        for case, (kind, name, content, field, words) in uploads(tmp_path / "sent").items():
            sent = {"source": kind, "file_name": name, "content": base64.b64encode(content).decode()}
            answer = await http.post("/v1/environments", json={"profile_id": world.profile.id, **sent})
            assert answer.status_code == 422, (case, answer.text)
            found = problem(answer)
            assert [error["path"] for error in found["errors"]] == [field], (case, found)
            assert words in found["detail"], (case, found)
            said.add(found["detail"])
    assert len(said) == 13
    assert [one async for one in building.environments()] == []
    assert left_in(world) == []


async def test_what_is_wrong_with_a_package_is_told_each_with_a_code_of_its_own(
    world: World, index: Index, tmp_path: Path, building: ExecutorClient
) -> None:
    index.add_tasks("bad-manifest", "1.0", "{")
    index.add_tasks("no-program", "1.0", manifest({"name": "a", "executable_parallel": "gone.py"}))
    one = {"name": "a", "executable_parallel": "look.py"}
    index.add_tasks("same-names", "1.0", manifest(one, one))
    index.add("needed", "1.0")
    index.add_tasks("needs-more", "1.0", needs=("needed>=2",))
    control = tmp_path / "control"
    index.add_slow(control)
    (control / "go-on").touch()
    (control / "fail").touch()
    pins: dict[str, Any] = {"pre_pins": {"needed": "1.0"}, "post_pins": {"Needed": "1.1"}}
    wanted: list[tuple[str, dict[str, Any], str]] = [
        ("some-tasks", pins, "pins_contradict"),
        ("needs-more", {}, "requirements_contradict"),
        ("bad-manifest", {}, "manifest_invalid"),
        ("no-program", {}, "manifest_executable_missing"),
        ("same-names", {}, "manifest_duplicate_task"),
        ("slow-tasks", {}, "install_failed"),
    ]
    failures = await asyncio.gather(*(failure(world, building, package, **more) for package, more, _ in wanted))
    assert [code for code, _ in failures] == [code for *_, code in wanted]
    assert left_in(world) == []


async def test_a_build_over_its_time_limit_fails_with_that_reason_and_a_new_request_works(
    world: World, index: Index, tmp_path: Path
) -> None:
    control = tmp_path / "control"
    index.add_slow(control)
    settings = {"STOKER_PACKAGE_INDEXES": index.url}
    async with world.executor(**settings, STOKER_BUILD_TIME_LIMIT_SECONDS="3") as hasty, world.poller():
        code, text = await failure(world, hasty, "slow-tasks")
    assert (code, text) == ("time_limit", "it took longer than its limit of 3 seconds")
    assert left_in(world) == []
    (control / "go-on").touch()
    create = EnvironmentFromPypi(profile_id=world.profile.id, package="slow-tasks")
    async with world.executor(**settings) as patient, world.poller():
        assert (await settled(patient, (await patient.create_environment(create)).id)).state == "ready"


@pytest.fixture
def small_disk(world: World) -> Iterator[Path]:
    """The folder of environments is a disk of three megabytes."""
    folder = world.folder / "tasks"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "stoker-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
async def test_a_full_disk_fails_a_creation_and_a_smaller_one_works(
    world: World, index: Index, building: ExecutorClient, small_disk: Path
) -> None:
    index.add("much-data", "1.0", {"much_data/__init__.py": "", "much_data/data": os.urandom(6_000_000).hex()})
    index.add_tasks("much-tasks", "1.0", needs=("much-data",))
    assert (await failure(world, building, "much-tasks"))[0] == "disk_full"
    assert list(small_disk.iterdir()) == []
    create = EnvironmentFromPypi(profile_id=world.profile.id, package="some-tasks")
    ready = await settled(building, (await building.create_environment(create)).id)
    assert ready.state == "ready", ready
