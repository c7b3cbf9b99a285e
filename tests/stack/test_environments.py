"""Environments from the command line, and an executor that dies while they are made and changed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.contracts.environments import FINAL_ACTIVITY_STATES, Environment, EnvironmentFromPypi
from stoker.errors import Conflict, NotFound, Unavailable
from tests.stack.jobs import local_profile
from tests.stack.running import RunningStack, wait_for
from tests.waiting import until
from tests.workshop.packages import Index

pytestmark = pytest.mark.anyio

# Every step of an activity is among them. Not all in each test: a program that dies again and again is started again
# after longer and longer pauses.
WHEN_MAKING = (
    "creation.storing",
    "creation.stored",
    "dispatcher.before_stage",
    "dispatcher.after_stage",
    "dispatcher.intended",
    "dispatcher.after_launch",
    "collector.read",
)
WHEN_CHANGING = {
    "deactivate": ("changes.storing", "dispatcher.leased"),
    "reactivate": ("changes.stored", "dispatcher.staged", "dispatcher.launched"),
    "delete": ("collector.looked", "collector.ended"),
}
WHEN_CANCELLING = (
    "cancellation.stored",
    "dispatcher.before_revoke",
    "dispatcher.after_revoke",
    "dispatcher.revoked",
    "dispatcher.cancelled",
)


@pytest.fixture
def points(tmp_path: Path) -> Path:
    folder = tmp_path / "points"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = Index(tmp_path_factory.mktemp("index") / "index")
    for name in ("some-tasks", "other-tasks", "changed-tasks"):
        made.add_tasks(name, "1.0")
    return made


@pytest.fixture
def building_stack(tmp_path: Path, points: Path, index: Index) -> Iterator[RunningStack]:
    variables = {"STOKER_FAILPOINTS": str(points), "STOKER_PACKAGE_INDEXES": index.url}
    stack = RunningStack(tmp_path / "state", environment=variables)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


async def settled(stack: RunningStack, environment_id: str) -> Environment | None:
    """The environment once its latest activity has ended, None when it is gone; from a client that comes back."""
    found: Environment | None = None

    async def over() -> bool:
        nonlocal found
        async with stack.executor() as executor:
            try:
                found = await executor.environment(environment_id)
            except NotFound:
                found = None
                return True
            except Unavailable:
                return False
        return found.activity is not None and found.activity.state in FINAL_ACTIVITY_STATES

    await until(over, f"the end of what is done to environment {environment_id}")
    return found


async def created(stack: RunningStack, wanted: EnvironmentFromPypi, key: str) -> Environment:
    """The environment of a call that is repeated until it is answered."""
    made: list[Environment] = []

    async def answered() -> bool:
        async with stack.executor() as executor:
            try:
                made.append(await executor.create_environment(wanted, idempotency_key=key))
            except Unavailable:
                return False
        return True

    await until(answered, "an answer")
    return made[0]


async def passed(stack: RunningStack, points: Path) -> None:
    """Wait until the executor has died at all of these points; those who call it next wait for its successor."""
    await asyncio.to_thread(wait_for, lambda: not list(points.iterdir()), 120, stack.logs)


async def test_an_environment_is_made_although_the_executor_dies(building_stack: RunningStack, points: Path) -> None:
    wanted = EnvironmentFromPypi(profile_id=await local_profile(building_stack), package="other-tasks")
    for name in WHEN_MAKING:
        (points / name).touch()
    made = await created(building_stack, wanted, "made")
    await passed(building_stack, points)
    ready = await settled(building_stack, made.id)
    assert ready is not None
    assert (ready.state, ready.task_names) == ("ready", ["Look"]), ready


async def test_an_environment_is_changed_although_the_executor_dies(
    building_stack: RunningStack, points: Path
) -> None:
    wanted = EnvironmentFromPypi(profile_id=await local_profile(building_stack), package="changed-tasks")
    made = await created(building_stack, wanted, "changed")
    assert await settled(building_stack, made.id)
    for change, state in (("deactivate", "inactive"), ("reactivate", "ready"), ("delete", None)):
        for name in WHEN_CHANGING[change]:
            (points / name).touch()

        async def begun(change: str = change) -> bool:
            async with building_stack.executor() as executor:
                try:
                    await getattr(executor, f"{change}_environment")(made.id)
                except Unavailable:
                    return False
                except NotFound:
                    return change == "delete"
            return True

        await until(begun, f"the {change} call")
        await passed(building_stack, points)
        found = await settled(building_stack, made.id)
        assert (found and found.state) == state, (change, found)


async def test_a_creation_is_cancelled_although_the_executor_dies(
    building_stack: RunningStack, points: Path, index: Index, tmp_path: Path
) -> None:
    control = tmp_path / "control"
    index.add_slow(control, "cancelled-tasks")
    wanted = EnvironmentFromPypi(profile_id=await local_profile(building_stack), package="cancelled-tasks")
    made = await created(building_stack, wanted, "cancelled")
    await until((control / "begun").exists, "the build")
    for name in WHEN_CANCELLING:
        (points / name).touch()
    assert made.activity is not None
    activity_id = made.activity.id

    async def asked() -> bool:
        async with building_stack.executor() as executor:
            try:
                await executor.cancel_activity(activity_id)
            except Unavailable:
                return False
            except Conflict:
                pass  # it has ended by an earlier call
        return True

    await until(asked, "the cancel call")
    await passed(building_stack, points)
    found = await settled(building_stack, made.id)
    assert found is not None
    assert (found.state, found.activity and found.activity.state) == ("failed", "cancelled")
    async with building_stack.registry() as registry:
        profile = await registry.profile(wanted.profile_id)
        tasks = Path((await registry.resource(profile.resource_id)).spec.tasks_local_dir)
    assert not (tasks / "cancelled-tasks").exists()
    (control / "go-on").touch()
    again = await settled(building_stack, (await created(building_stack, wanted, "again")).id)
    assert again is not None
    assert again.state == "ready"


def test_environments_and_tasks_from_the_command_line(building_stack: RunningStack, tmp_path: Path) -> None:
    stack = building_stack
    stack.ready()
    made = stack.json("env", "create", "some-tasks==1.0", "--profile", "local", "--wait")
    assert (made["state"], made["version"]) == ("ready", "1.0")
    assert [one["id"] for one in stack.json("env", "list")].count(made["id"]) == 1
    assert stack.json("env", "show", made["id"])["activities"][0]["kind"] == "create"
    assert [task["name"] for task in stack.json("env", "tasks", "--env", made["id"])] == ["Look"]
    assert "some-tasks" in stack.run("env", "log", made["id"]).out
    job = stack.json("run", made["id"], "Look", "--zarr-url", str(tmp_path), "--zarr-url", "/data/b", "--wait")
    assert (job["state"], job["unit_count"], job["task"]) == ("succeeded", 2, "Look")
    images, lines = tmp_path / "images.txt", tmp_path / "lines.sh"
    images.write_text("/data/a\n/data/b\n/data/c\n")
    lines.write_text("echo before the unit\n")
    more = ["--zarr-urls", str(images), "--worker-init", str(lines), "--unit-time", "5", "--retries", "1"]
    more += ["--parallel", "1", "--cache-dir", str(tmp_path / "cache"), "--name", "three"]
    job = stack.json("run", made["id"], "Look", *more, "--wait")
    assert (job["state"], job["unit_count"], job["name"]) == ("succeeded", 3, "three")
    assert "before the unit" in stack.run("logs", job["id"], "0").out
    assert (tmp_path / "cache").is_dir()
    useless = stack.run("run", made["id"], "Look", "--zarr-url", "/a", "--need-init", "mem=1G")
    assert (useless.code, "--need-init" in useless.err) == (3, True), useless
    refused = stack.run("run", made["id"], "Look", "--zarr-url", "/a", "--account", "lab")
    assert (refused.code, "account" in refused.err) == (3, True), refused
    refused = stack.run("run", made["id"], "Look")
    assert refused.code == 3
    assert "task.zarr_urls" in refused.err
    failed = stack.run("env", "create", "absent-tasks", "--profile", "local", "--wait")
    assert failed.code == 1
    assert "no package absent-tasks" in failed.err
    assert stack.json("env", "deactivate", made["id"], "--wait")["state"] == "inactive"
    assert stack.json("env", "reactivate", made["id"], "--wait")["state"] == "ready"
    assert stack.json("env", "delete", made["id"], "--wait")["activity"]["state"] == "done"
    assert made["id"] not in [one["id"] for one in stack.json("env", "list")]
