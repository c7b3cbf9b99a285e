"""Environments over HTTP that no package index has a part in: of pixi projects, and such as are there already."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stoker.clients.executor import ExecutorClient
from stoker.contracts.environments import Environment, EnvironmentFromExisting, EnvironmentFromPixi
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.tasks import TaskRun
from stoker.errors import Invalid
from tests.workshop.environments import gone, log_of, settled
from tests.workshop.packages import make_environment
from tests.workshop.pixi_projects import PixiProjects
from tests.workshop.serving import World, ended

# What is stored of environments is tested on both databases in `test_environments.py`.
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


@pytest.fixture
async def pixi(world: World, tmp_path: Path) -> PixiProjects:
    """The resource has pixi from now on."""
    made = await asyncio.to_thread(PixiProjects, tmp_path / "pixi projects")
    await world.registry_client.patch_resource(world.resource.id, {"tasks_pixi_config": made.config()})
    return made


@pytest.fixture
async def building(world: World) -> AsyncIterator[ExecutorClient]:
    async with world.executor() as client, world.poller():
        yield client


def of_archive(world: World, archive: Path, **more: bool) -> EnvironmentFromPixi:
    return EnvironmentFromPixi(
        profile_id=world.profile.id, file_name=archive.name, content=archive.read_bytes(), **more
    )


async def made(
    client: ExecutorClient, create: EnvironmentFromPixi | EnvironmentFromExisting, state: str = "ready"
) -> Environment:
    found = await settled(client, (await client.create_environment(create)).id)
    assert found.state == state, found
    return found


async def seen_by_task(world: World, client: ExecutorClient, environment_id: str) -> str:
    """What a task of the environment answers, which is the name of its image."""
    wanted = TaskRun(environment_id=environment_id, task="Look", zarr_urls=["/data/a"])
    job = await ended(client, (await client.submit(JobSubmit(profile_id=world.profile.id, task=wanted))).id)
    assert job.state == "succeeded", job
    [unit] = [unit async for unit in client.units(job.id)]
    return str(unit.output["image_list_updates"][0]["zarr_url"])


def left_in(world: World) -> list[str]:
    return [str(path) for path in (world.folder / "tasks").rglob("*")]


async def test_a_pixi_project_is_made_used_and_made_again_with_the_same_lock(
    world: World, pixi: PixiProjects, building: ExecutorClient
) -> None:
    ready = await made(building, of_archive(world, pixi.archive()))
    assert (ready.package, ready.version, ready.installer) == ("some-tasks", "1.0", "pixi")
    assert ready.task_names == ["Look"]
    assert ready.disk_bytes
    assert await seen_by_task(world, building, ready.id) == "/data/a"
    before = await building.freeze(ready.id)
    assert before.lock is not None
    assert "some-needs-1.0" in before.lock
    await asyncio.to_thread(pixi.publish_needs, "2.0")
    await building.deactivate_environment(ready.id)
    inactive = await settled(building, ready.id)
    assert (inactive.state, inactive.folder) == ("inactive", ready.folder)
    project = Path(ready.folder or "") / "project"
    assert sorted(path.name for path in project.iterdir()) == ["pixi.lock", "pixi.toml"]
    assert (inactive.disk_bytes or 0) < (ready.disk_bytes or 0)
    await building.reactivate_environment(ready.id)
    assert (await settled(building, ready.id)).state == "ready"
    assert await building.freeze(ready.id) == before
    assert await seen_by_task(world, building, ready.id) == "/data/a"
    await building.delete_environment(ready.id)
    await gone(building, ready.id)
    assert left_in(world) == []


async def test_the_lock_file_of_an_archive_is_kept_to_unless_it_is_not_wanted(
    world: World, pixi: PixiProjects, building: ExecutorClient
) -> None:
    first = await made(building, of_archive(world, pixi.archive()))
    lock = (await building.freeze(first.id)).lock or ""
    await asyncio.to_thread(pixi.publish_needs, "2.0")
    both = pixi.archive(**{"pixi.toml": pixi.project(), "pixi.lock": lock})
    locked = await made(building, of_archive(world, both))
    free = await made(building, of_archive(world, both, use_lock=False))
    assert len({first.id, locked.id, free.id}) == 3
    assert (await building.freeze(locked.id)).lock == lock
    assert (await building.freeze(free.id)).freeze == "some-needs==2.0\nsome-tasks==1.0\n"
    # The same file is the same environment.
    assert (await building.create_environment(of_archive(world, both))).id == locked.id


async def test_a_pixi_project_that_cannot_be_solved_leaves_its_reason_and_nothing_on_disk(
    world: World, pixi: PixiProjects, building: ExecutorClient
) -> None:
    impossible = of_archive(world, pixi.archive(**{"pixi.toml": pixi.project("9.*")}))
    failed = await made(building, impossible, "failed")
    assert failed.reason is not None
    assert failed.activity is not None
    assert failed.reason.code == "pixi_failed"
    assert "some-tasks 9.*" in await log_of(building, failed.activity.id)
    assert left_in(world) == []
    for files, words in [
        ({"README.md": ""}, "neither pixi.toml nor"),
        ({"pixi.toml": "[workspace"}, "not valid TOML"),
        ({"pixi.toml": pixi.project().replace("linux-64", "osx-64")}, "platform linux-64"),
    ]:
        with pytest.raises(Invalid, match=words) as refused:
            await building.create_environment(of_archive(world, pixi.archive(**files)))
        assert [error.path for error in refused.value.errors] == ["content"]
    assert (await made(building, of_archive(world, pixi.archive()))).id != failed.id


def state_of(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


async def test_an_existing_environment_is_used_as_it_is_and_never_changed(
    world: World, tmp_path: Path, building: ExecutorClient
) -> None:
    folder = await asyncio.to_thread(make_environment, tmp_path / "theirs", "their-tasks", "3.1")
    before = state_of(folder)
    create = EnvironmentFromExisting(profile_id=world.profile.id, path=str(folder), package="Their.Tasks")
    ready = await made(building, create)
    assert (ready.package, ready.version, ready.folder) == ("their-tasks", "3.1", str(folder))
    assert await seen_by_task(world, building, ready.id) == "/data/a"
    freeze = await building.freeze(ready.id)
    assert freeze.freeze == "their-tasks==3.1\n"
    await building.deactivate_environment(ready.id)
    assert (await settled(building, ready.id)).state == "inactive"
    await building.reactivate_environment(ready.id)
    assert (await settled(building, ready.id)).state == "ready"
    assert await building.freeze(ready.id) == freeze
    await building.delete_environment(ready.id)
    await gone(building, ready.id)
    assert state_of(folder) == before
    assert left_in(world) == []


async def test_an_existing_environment_that_is_none_is_told_with_the_reason(
    world: World, tmp_path: Path, building: ExecutorClient
) -> None:
    folder = await asyncio.to_thread(make_environment, tmp_path / "theirs", "their-tasks", "3.1")
    for path, package, code in [
        (tmp_path / "nowhere", "their-tasks", "environment_not_found"),
        (folder, "other-tasks", "package_not_found"),
    ]:
        create = EnvironmentFromExisting(profile_id=world.profile.id, path=str(path), package=package)
        failed = await made(building, create, "failed")
        assert (failed.reason and failed.reason.code) == code
    assert left_in(world) == []
