"""Environments over HTTP, made of packages in a folder: from the request to their tasks and back."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from stoker.clients.executor import ExecutorClient
from stoker.contracts.environments import EnvironmentFromPypi, EnvironmentFromWheel
from stoker.errors import Conflict, Forbidden, Invalid, NotFound
from tests.waiting import until
from tests.workshop.environments import log_of, settled
from tests.workshop.packages import Index, make_wheel, task_files
from tests.workshop.serving import World, ended, problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index with one task package in two versions, and one that is none."""
    made = Index(tmp_path / "index")
    made.add_tasks("some-tasks", "1.9")
    made.add_tasks("some-tasks", "1.10")
    made.add("no-tasks", "1.0")
    return made


@pytest.fixture
async def building(world: World, index: Index) -> AsyncIterator[ExecutorClient]:
    """An executor and a poller; packages come from the folder. Units that are to end are killed at once."""
    settings = {"STOKER_PACKAGE_INDEXES": index.url, "STOKER_KILL_GRACE_SECONDS": "0"}
    async with world.executor(**settings) as client, world.poller():
        yield client


def wanted(world: World, package: str = "some-tasks", version: str | None = None) -> EnvironmentFromPypi:
    return EnvironmentFromPypi(profile_id=world.profile.id, package=package, version=version)


def left_in(world: World) -> list[str]:
    """The environments' own files below the tasks folder."""
    return [str(path) for path in (world.folder / "tasks").glob("[!.]*/*")]


@pytest.mark.both_databases
async def test_an_environment_is_made_and_its_tasks_are_known(world: World, building: ExecutorClient) -> None:
    made = await building.create_environment(wanted(world))
    assert (made.state, made.package, made.version) == ("creating", "some-tasks", None)
    assert made.activity is not None
    ready = await settled(building, made.id)
    assert (ready.state, ready.version, ready.task_names) == ("ready", "1.10", ["Look"]), ready
    assert ready.folder is not None
    assert (Path(ready.folder) / "ready").exists()
    assert ready.disk_bytes
    [task] = [task async for task in building.tasks(search="lOOk some")]
    assert (task.name, task.type, task.package_version, task.environment_id) == ("Look", "parallel", "1.10", made.id)
    assert task.needs_parallel is not None
    assert task.needs_parallel.cpus_per_task == 2
    assert [task async for task in building.tasks(search="elsewhere")] == []
    assert [task async for task in building.tasks(of_type="compound")] == []
    assert "some-tasks==1.10" in (await building.freeze(made.id)).freeze
    assert "some-tasks" in await log_of(building, made.activity.id)
    # Activities are no jobs.
    assert (await building.jobs()).items == []
    with pytest.raises(NotFound):
        await building.job(made.activity.id)
    assert (await building.usage()).resources == []


@pytest.mark.both_databases
async def test_what_is_deactivated_is_made_again_exactly_and_what_is_deleted_is_gone(
    world: World, index: Index, building: ExecutorClient
) -> None:
    ready = await settled(building, (await building.create_environment(wanted(world))).id)
    before = await building.freeze(ready.id)
    index.add_tasks("some-tasks", "2.0")
    assert (await building.deactivate_environment(ready.id)).state == "inactive"
    inactive = await settled(building, ready.id)
    assert (inactive.state, inactive.version) == ("inactive", "1.10")
    assert ready.folder is not None
    assert not (Path(ready.folder) / "venv").exists()
    await building.reactivate_environment(ready.id)
    again = await settled(building, ready.id)
    assert (again.state, again.reason, again.folder) == ("ready", None, ready.folder)
    with pytest.raises(Conflict):
        await world.registry_client.delete_profile(world.profile.id)
    assert await building.freeze(ready.id) == before
    kinds = [activity.kind async for activity in building.activities(ready.id)]
    assert kinds == ["reactivate", "deactivate", "create"]
    deleting = await building.delete_environment(ready.id)
    assert deleting.state == "deleting"
    assert deleting.activity is not None

    async def gone() -> bool:
        return [one async for one in building.environments()] == []

    await until(gone, "the end of the environment")
    assert left_in(world) == []
    assert (await building.activity(deleting.activity.id)).state == "done"
    assert "remove" in await log_of(building, deleting.activity.id)
    with pytest.raises(NotFound):
        await building.environment(ready.id)


async def test_a_profile_can_be_removed_once_its_environments_are_whatever_was_done_to_them(
    world: World, building: ExecutorClient
) -> None:
    ready = await settled(building, (await building.create_environment(wanted(world))).id)
    deleting = await building.delete_environment(ready.id)
    assert deleting.activity is not None

    async def removed() -> bool:
        try:
            await world.registry_client.delete_profile(world.profile.id)
        except Conflict:
            return False
        return True

    await until(removed, "the profile's release")
    await world.registry_client.delete_resource(world.resource.id)
    async with world.executor(STOKER_RETENTION_DAYS="0.00001") as keeping:
        # Their logs are out of everybody's reach, and go when their time is over.
        activity_id = deleting.activity.id

        async def forgotten() -> bool:
            try:
                await keeping.activity(activity_id)
            except NotFound:
                return True
            return False

        await until(forgotten, "the activity's end")


@pytest.mark.both_databases
async def test_a_wheel_that_is_sent_becomes_an_environment_and_again(
    world: World, tmp_path: Path, building: ExecutorClient
) -> None:
    wheel = make_wheel(tmp_path / "sent", "own-tasks", "0.1", task_files("own_tasks"))
    create = EnvironmentFromWheel(profile_id=world.profile.id, file_name=wheel.name, content=wheel.read_bytes())
    ready = await settled(building, (await building.create_environment(create)).id)
    assert (ready.state, ready.package, ready.version) == ("ready", "own-tasks", "0.1"), ready
    await building.deactivate_environment(ready.id)
    await settled(building, ready.id)
    await building.reactivate_environment(ready.id)
    assert (await settled(building, ready.id)).state == "ready"
    # The same wheel is the same environment.
    assert (await building.create_environment(create)).id == ready.id


@pytest.mark.parametrize(
    ("package", "version", "code"),
    [
        ("absent-tasks", None, "package_not_found"),
        ("some-tasks", "7", "version_not_found"),
        ("no-tasks", "1.0", "manifest_missing"),
    ],
)
async def test_a_failed_creation_leaves_its_reason_and_its_log_and_nothing_on_disk(
    world: World, building: ExecutorClient, package: str, version: str | None, code: str
) -> None:
    create = wanted(world, package, version)
    failed = await settled(building, (await building.create_environment(create)).id)
    assert failed.state == "failed"
    assert failed.reason is not None
    assert failed.activity is not None
    assert (failed.reason.code, failed.activity.state) == (code, "failed")
    assert failed.activity.reason == failed.reason
    assert "failed" in await log_of(building, failed.activity.id)
    assert left_in(world) == []
    # A new request is a new try.
    again = await building.create_environment(create)
    assert again.id != failed.id
    await building.delete_environment(failed.id)
    await settled(building, again.id)


async def test_ten_at_once_of_which_two_are_the_same_are_nine_and_all_else_goes_on_meanwhile(
    world: World, index: Index, tmp_path: Path, building: ExecutorClient
) -> None:
    control = tmp_path / "control"
    names = [f"slow-{n}" for n in range(9)]
    for name in names:
        index.add_slow(control, name)
    wanted_names = [*names, "Slow.8"]
    made = await asyncio.gather(*(building.create_environment(wanted(world, name)) for name in wanted_names))
    assert made[-1].id == made[-2].id
    assert len({one.id for one in made}) == 9
    # All nine are in the middle of it.
    await until(lambda: _count_of(control / "begun", 9), "the builds")
    job = await ended(building, (await building.submit(world.submission("true"))).id)
    assert job.state == "succeeded"
    assert [one.state async for one in building.environments()] == ["creating"] * 9
    async with world.raw() as http:
        answers = await asyncio.gather(*(http.get(f"/v1/environments/{one.id}") for one in made for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await http.get("/health/ready")).status_code == 200
    (control / "go-on").touch()
    ready = [await settled(building, one.id) for one in made]
    assert [(one.state, one.task_names) for one in ready] == [("ready", ["Look"])] * 10
    assert len({one.folder for one in ready}) == 9


async def _count_of(path: Path, lines: int) -> bool:
    return path.exists() and len(path.read_text().split()) >= lines


async def test_wrong_requests_are_told_at_once_with_the_field(world: World, building: ExecutorClient) -> None:
    profile = world.profile.id
    content = base64.b64encode(b"no zip").decode()
    wrong = [
        ({"source": "pypi", "package": "a;b"}, "package"),
        ({"source": "pypi", "package": "a", "version": "not a version"}, "version"),
        ({"source": "pypi", "package": "a", "python_version": "2.7"}, "python_version"),
        ({"source": "pypi", "package": "a", "pre_pins": {"b": "x.y"}}, "pre_pins.b"),
        ({"source": "wheel", "file_name": "a-1.0.tar.gz", "content": content}, "file_name"),
        ({"source": "wheel", "file_name": "a-1.0-py3-none-any.whl", "content": content}, "content"),
        ({"source": "pixi", "file_name": "a.zip", "content": content}, "file_name"),
        ({"source": "existing", "path": "relative", "package": "a"}, "path"),
    ]
    async with world.raw() as http:
        for fields, path in wrong:
            refused = await http.post("/v1/environments", json={"profile_id": profile, **fields})
            assert refused.status_code == 422, (fields, refused.text)
            assert path in [error["path"] for error in problem(refused)["errors"]], refused.text
    assert [one async for one in building.environments()] == []
    assert left_in(world) == []


async def test_users_see_the_environments_of_their_resources_and_change_their_own(
    world: World, building: ExecutorClient
) -> None:
    granted = await world.user_key(world.registry_client, "ann")
    stranger = await world.user_key(world.registry_client, "bob", granted=False)
    made = await settled(building, (await building.create_environment(wanted(world))).id)
    assert made.activity is not None
    async with world.client(granted) as ann, world.client(stranger) as bob:
        assert (await ann.environment(made.id)).id == made.id
        assert len([task async for task in ann.tasks()]) == 1
        with pytest.raises(Forbidden, match="root"):
            await ann.delete_environment(made.id)
        for call in (bob.environment, bob.deactivate_environment, bob.freeze):
            with pytest.raises(NotFound):
                await call(made.id)
        with pytest.raises(NotFound):
            await bob.activity(made.activity.id)
        assert [one async for one in bob.environments()] == []
        assert [task async for task in bob.tasks()] == []
        own = await ann.create_environment(wanted(world, version="1.9"))
        assert (await settled(ann, own.id)).owner == "ann"
        await ann.delete_environment(own.id)


async def test_the_same_key_makes_one_environment_and_another_body_is_refused(
    world: World, building: ExecutorClient
) -> None:
    one = await building.create_environment(wanted(world), idempotency_key="k")
    assert (await building.create_environment(wanted(world), idempotency_key="k")).id == one.id
    with pytest.raises(Invalid, match="another request"):
        await building.create_environment(wanted(world, version="1.9"), idempotency_key="k")
    await settled(building, one.id)


async def test_a_creation_is_cancelled_in_the_middle_and_a_new_request_works(
    world: World, index: Index, tmp_path: Path, building: ExecutorClient
) -> None:
    control = tmp_path / "control"
    index.add_slow(control)
    made = await building.create_environment(wanted(world, "slow-tasks"))
    assert made.activity is not None
    await until(lambda: _is_there(control / "begun"), "the build")
    assert await _followed(building, made.activity.id, "install slow-tasks")
    with pytest.raises(Conflict, match="goes on"):
        await building.delete_environment(made.id)
    await building.cancel_activity(made.activity.id)
    cancelled = await settled(building, made.id)
    assert (cancelled.state, cancelled.activity and cancelled.activity.state) == ("failed", "cancelled")
    assert left_in(world) == []
    (control / "go-on").touch()
    again = await settled(building, (await building.create_environment(wanted(world, "slow-tasks"))).id)
    assert again.state == "ready"


async def _is_there(path: Path) -> bool:
    return path.exists()


async def _followed(client: ExecutorClient, activity_id: str, until_text: str) -> str:
    said = ""
    stream = client.activity_log(activity_id, follow=True)
    try:
        async for part in stream:
            said += part.decode()
            if until_text in said:
                break
    finally:
        await stream.aclose()
    return said


async def test_a_builder_that_is_killed_leaves_a_failed_environment_that_can_be_deleted(
    world: World, index: Index, tmp_path: Path, building: ExecutorClient
) -> None:
    control = tmp_path / "control"
    index.add_slow(control)
    made = await building.create_environment(wanted(world, "slow-tasks"))
    await until(lambda: _is_there(control / "begun"), "the build")
    for runner in _runners_of(made.activity.id if made.activity else ""):
        runner.kill()
    failed = await settled(building, made.id)
    assert (failed.state, failed.reason and failed.reason.code) == ("failed", "runner_died")
    (control / "go-on").touch()
    again = await settled(building, (await building.create_environment(wanted(world, "slow-tasks"))).id)
    assert again.state == "ready"
    await building.delete_environment(made.id)

    async def gone() -> bool:
        return [one.id async for one in building.environments()] == [again.id]

    await until(gone, "the end of the failed environment")
    assert [Path(path).name for path in left_in(world)] == ["1.0"]
    assert [path.name for path in (world.folder / "tasks/slow-tasks/1.0").iterdir()] == [again.id]


def _runners_of(activity_id: str) -> list[psutil.Process]:
    """The runners whose folder is the activity's."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if activity_id in words and "runner.py" in words:
            found.append(process)
    assert found
    return found
