"""Jobs that run tasks of environments: each type, what goes wrong in them, and what is asked wrongly."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stoker.clients.executor import ExecutorClient
from stoker.contracts.environments import FINAL_ACTIVITY_STATES, EnvironmentFromPypi
from stoker.contracts.jobs import Job, JobSubmit, Unit
from stoker.contracts.tasks import TaskRun
from stoker.errors import Conflict, Invalid, NotFound
from tests.waiting import until
from tests.workshop.packages import TASK, Index, manifest, task_files
from tests.workshop.serving import World, ended

pytestmark = pytest.mark.anyio

# Answers what the user's argument `answer` says, if it says anything.
ANSWERING = """\
import argparse, json, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--args-json")
parser.add_argument("--out-json")
options = parser.parse_args()
if os.path.exists(options.out_json):
    sys.exit("the out file is there already")
with open(options.args_json) as file:
    arguments = json.load(file)
print(json.dumps(arguments))
answer = arguments.get("answer", arguments.get("answers", {}).get(arguments.get("zarr_url")))
if isinstance(answer, int):
    answer = {"parallelization_list": [{"zarr_url": f"/data/{n}", "init_args": {"n": n}} for n in range(answer)]}
if answer is not None:
    with open(options.out_json, "w") as file:
        json.dump(answer, file)
fails = arguments.get("fails")
if fails is True or (fails and fails == arguments.get("zarr_url")):
    sys.exit(3)
"""
SCHEMA = {"type": "object", "properties": {"answer": {}}, "required": ["zarr_url"], "additionalProperties": True}
TASKS: list[dict[str, Any]] = [
    {"name": "Look", "executable_parallel": "look.py"},
    {"name": "Once", "executable_non_parallel": "answer.py", "args_schema_non_parallel": SCHEMA},
    {"name": "Convert", "executable_non_parallel": "answer.py", "type": "converter_non_parallel"},
    {"name": "Each", "executable_parallel": "answer.py"},
    {"name": "Both", "executable_non_parallel": "answer.py", "executable_parallel": "answer.py"},
]


@pytest.fixture
async def working(world: World, tmp_path: Path) -> AsyncIterator[ExecutorClient]:
    """An executor and a poller; the index holds one package."""
    index = Index(tmp_path / "index")
    files = task_files("some_tasks", manifest(*TASKS)) | {
        "some_tasks/answer.py": ANSWERING,
        "some_tasks/look.py": TASK,
    }
    index.add("some-tasks", "1.0", files)
    async with world.executor(STOKER_PACKAGE_INDEXES=index.url) as client, world.poller():
        yield client


@pytest.fixture
async def environment_id(world: World, working: ExecutorClient) -> str:
    """An environment that is ready."""
    create = EnvironmentFromPypi(profile_id=world.profile.id, package="some-tasks")
    made = await working.create_environment(create)

    async def over() -> bool:
        activity = (await working.environment(made.id)).activity
        return activity is not None and activity.state in FINAL_ACTIVITY_STATES

    await until(over, "the environment")
    ready = await working.environment(made.id)
    assert ready.state == "ready", ready
    return made.id


def running(world: World, environment_id: str, task: str, **run: Any) -> JobSubmit:
    """A submit call of a task; `retries` is the call's own."""
    call = {name: run.pop(name) for name in ("retries", "tasks_per_job") if name in run}
    wanted = TaskRun(environment_id=environment_id, task=task, **run)
    return JobSubmit(profile_id=world.profile.id, task=wanted, **call)


async def run(client: ExecutorClient, submit: JobSubmit) -> tuple[Job, list[Unit]]:
    """The job at its end, and its units."""
    job = await ended(client, (await client.submit(submit)).id, seconds=120)
    return job, [unit async for unit in client.units(job.id)]


async def test_a_parallel_task_runs_once_for_each_image(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    urls = [f"/data/{n}.zarr" for n in range(5)]
    job, units = await run(working, running(world, environment_id, "Look", zarr_urls=urls))
    assert (job.state, job.unit_count, job.environment_id, job.task) == ("succeeded", 5, environment_id, "Look")
    assert [unit.arguments for unit in units] == [{"zarr_url": url} for url in urls]
    assert [unit.output["image_list_updates"][0]["zarr_url"] for unit in units] == urls
    again = await working.rerun(job.id)
    assert (await ended(working, again.id)).state == "succeeded"
    assert (again.task, again.unit_count) == ("Look", 5)


async def test_of_a_parallel_task_some_units_fail_and_the_others_are_not_bothered(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    urls = [f"/data/{n}.zarr" for n in range(6)]
    wrong = {"image_list_updates": "all of them"}
    arguments = {"fails": urls[1], "answers": {urls[2]: {"image_list_removals": [urls[2]]}, urls[4]: wrong}}
    call = running(world, environment_id, "Each", zarr_urls=urls, arguments_parallel=arguments)
    job, units = await run(working, call)
    assert (job.state, job.counts.succeeded, job.counts.failed) == ("failed", 4, 2)
    assert [unit.state for unit in units] == ["succeeded", "failed", "succeeded", "succeeded", "failed", "succeeded"]
    codes = [unit.reason and unit.reason.code for unit in units]
    assert codes == [None, "exit_code", None, None, "invalid_output", None]
    assert units[2].output == {"image_list_removals": [urls[2]]}
    assert units[1].exit_code == 3


async def test_tasks_that_run_once_get_what_their_type_says(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    call = running(world, environment_id, "Once", zarr_dir="/data", zarr_urls=["/data/a"])
    job, [unit] = await run(working, call)
    assert (job.state, unit.arguments) == ("succeeded", {"zarr_dir": "/data", "zarr_urls": ["/data/a"]})
    call = running(world, environment_id, "Convert", zarr_dir="/data", arguments_non_parallel={"more": 1})
    job, [unit] = await run(working, call)
    assert (job.state, unit.arguments) == ("succeeded", {"zarr_dir": "/data", "more": 1})


@pytest.mark.both_databases
async def test_a_compound_task_computes_what_its_init_names(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    call = running(
        world,
        environment_id,
        "Both",
        zarr_dir="/data",
        arguments_non_parallel={"answer": 3},
        arguments_parallel={"fails": "/data/1", "sigma": 2},
    )
    job, units = await run(working, call)
    assert (job.state, job.unit_count, job.counts.succeeded, job.counts.failed) == ("failed", 4, 3, 1)
    assert [unit.state for unit in units] == ["succeeded", "succeeded", "failed", "succeeded"]
    assert units[1].arguments == {"zarr_url": "/data/0", "init_args": {"n": 0}, "fails": "/data/1", "sigma": 2}
    batches = [batch async for batch in working.batches(job.id)]
    assert [(batch.unit_count, batch.state) for batch in batches] == [(1, "ended"), (3, "ended")]
    again = await working.rerun(job.id)
    assert again.unit_count == 1
    assert (await ended(working, again.id)).unit_count == 4


async def test_an_init_may_name_five_thousand(world: World, working: ExecutorClient, environment_id: str) -> None:
    call = running(world, environment_id, "Both", zarr_dir="/data", arguments_non_parallel={"answer": 5000})
    job = await working.submit(call)

    async def grown() -> bool:
        return (await working.job(job.id)).unit_count == 5001

    await until(grown, "the compute units")
    await working.cancel(job.id)
    over = await ended(working, job.id)
    assert over.state == "cancelled"
    counts = over.counts
    assert counts.succeeded + counts.cancelled + counts.failed == 5001
    assert counts.succeeded >= 1


@pytest.mark.parametrize(
    ("arguments", "state", "code"),
    [
        ({}, "succeeded", None),
        ({"answer": {"parallelization_list": []}}, "succeeded", None),
        ({"answer": {"parallelization_list": None}}, "succeeded", None),
        ({"answer": {"parallelization_list": [{"url": "x"}]}}, "failed", "invalid_output"),
        ({"answer": [1]}, "failed", "invalid_output"),
        ({"answer": 2, "fails": True}, "failed", "exit_code"),
    ],
)
async def test_an_init_that_names_nothing_ends_the_job_and_one_that_fails_fails_it(
    world: World,
    working: ExecutorClient,
    environment_id: str,
    arguments: dict[str, Any],
    state: str,
    code: str | None,
) -> None:
    call = running(world, environment_id, "Both", zarr_dir="/data", arguments_non_parallel=arguments)
    job, [unit] = await run(working, call)
    assert (job.state, unit.state, unit.reason and unit.reason.code) == (state, state, code)


async def test_an_answer_of_a_wrong_shape_is_a_failed_unit_with_the_reason(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    wrong = {"image_list_updates": [{"zarr_url": "/a"}, {"zarr_url": "/a", "origin": "/b"}]}
    call = running(world, environment_id, "Once", zarr_dir="/data", arguments_non_parallel={"answer": wrong})
    job, [unit] = await run(working, call)
    assert (job.state, unit.exit_code, unit.output) == ("failed", 0, wrong)
    assert unit.reason is not None
    assert unit.reason.code == "invalid_output"
    assert "more than once" in unit.reason.text


@pytest.mark.both_databases
async def test_a_unit_that_is_tried_again_finds_no_out_file_of_before(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    call = running(
        world,
        environment_id,
        "Both",
        zarr_dir="/data",
        arguments_non_parallel={"answer": 1},
        arguments_parallel={"answer": {}, "fails": True},
        retries={"count": 1, "on": ["exit_code"]},
    )
    job, units = await run(working, msgspec_retries(call))
    assert (job.state, units[1].attempt, units[1].reason and units[1].reason.code) == ("failed", 2, "exit_code")
    log = b"".join([part async for part in working.unit_log(job.id, 1)])
    assert b"already" not in log
    batches = [batch async for batch in working.batches(job.id)]
    assert [batch.unit_count for batch in batches] == [1, 1, 1]


def msgspec_retries(call: JobSubmit) -> JobSubmit:
    """The call as it is read from JSON."""
    return msgspec.json.decode(msgspec.json.encode(call), type=JobSubmit)


async def test_what_is_asked_wrongly_is_told_with_its_field(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    both = running(world, environment_id, "Look", zarr_urls=["/a"])
    both.command = ["true"]
    neither = JobSubmit(profile_id=world.profile.id)
    wrong = [
        (both, "command"),
        (neither, "command"),
        (running(world, environment_id, "Look"), "task.zarr_urls"),
        (running(world, environment_id, "Once"), "task.zarr_dir"),
        (
            running(world, environment_id, "Once", zarr_dir="/d", arguments_non_parallel={"zarr_dir": "/e"}),
            "task.arguments_non_parallel.zarr_dir",
        ),
    ]
    for submit, path in wrong:
        for call in (working.submit, working.plan):
            with pytest.raises(Invalid) as refused:
                await call(submit)
            assert path in [error.path for error in refused.value.errors], json.dumps(path)
    for missing in (running(world, environment_id, "None"), running(world, "0" * 26, "Look")):
        with pytest.raises(NotFound):
            await working.submit(missing)
    planned = await working.plan(running(world, environment_id, "Look", zarr_urls=["/a", "/b"]))
    assert planned.unit_count == 2


async def test_what_a_job_uses_is_neither_deactivated_nor_deleted(
    world: World, working: ExecutorClient, environment_id: str
) -> None:
    call = running(world, environment_id, "Both", zarr_dir="/data", arguments_non_parallel={"answer": 3000})
    job = await working.submit(call)
    for change in (working.deactivate_environment, working.delete_environment):
        with pytest.raises(Conflict, match=job.id):
            await change(environment_id)
    await working.cancel(job.id)
    await ended(working, job.id)
    await working.deactivate_environment(environment_id)
    with pytest.raises(Conflict, match="not ready"):
        await working.submit(running(world, environment_id, "Look", zarr_urls=["/a"]))
