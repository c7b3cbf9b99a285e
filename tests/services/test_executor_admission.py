"""What the executor accepts as a job, what it refuses and in which words, and that it accepts a call once."""

import asyncio
import base64
from typing import Any

import pytest
from sqlalchemy import select

from services.executor.repositories.tables import batches, job_files, jobs, profile_holds, units
from shared.service.database.transactions import Database
from stoker.clients.executor import ExecutorClient
from stoker.contracts.jobs import MAX_FILES_BYTES, MAX_UNITS
from stoker.contracts.keys import AccessKeyCreate
from stoker.errors import Conflict, Invalid, NotFound, Unavailable
from tests.waiting import until
from tests.workshop.serving import World, problem

pytestmark = pytest.mark.anyio


async def rows(world: World, query: Any) -> list[Any]:
    database = Database(world.executor_database_url)
    try:
        async with database.read() as connection:
            return list((await connection.execute(query)).all())
    finally:
        await database.close()


def body(world: World, **changes: Any) -> dict[str, Any]:
    return {"profile_id": world.profile.id, "command": ["true"], "units": [{}]} | changes


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"colour": 1}, "colour"),
    ({"command": []}, "command"),
    ({"command": [""]}, "command[0]"),
    ({"command": ["echo", "a\0b"]}, "command[1]"),
    ({"command": "true"}, "command"),
    ({"command": ["echo", 3]}, "command[1]"),
    ({"units": []}, "units"),
    ({"units": [{}, 3]}, "units[1]"),
    ({"units": {}}, "units"),
    ({"command": ["echo", "{args.path}"], "units": [{"path": 1}, {"pth": 1}]}, "units[1]"),
    ({"name": "x" * 201}, "name"),
    ({"name": "a\0"}, "name"),
    ({"environment": {"1A": "x"}}, "environment.1A"),
    ({"environment": {"A=B": "x"}}, "environment.A=B"),
    ({"environment": {"STOKER_MARK": "x"}}, "environment.STOKER_MARK"),
    ({"environment": {"A": "\0"}}, "environment.A"),
    ({"files": {"/etc/passwd": ""}}, "files./etc/passwd"),
    ({"files": {"../up": ""}}, "files.../up"),
    ({"files": {"a//b": ""}}, "files.a//b"),
    ({"files": {"a": "", "a/b": ""}}, "files.a/b"),
    ({"files": {"a": "no base64!"}}, "files.a"),
    ({"parallel_tasks_per_job": 0}, "parallel_tasks_per_job"),
    ({"parallel_tasks_per_job": 3}, "parallel_tasks_per_job"),
    ({"tasks_per_job": 2}, "tasks_per_job"),
]


@pytest.mark.parametrize(("changes", "path"), WRONG, ids=[path for _, path in WRONG])
async def test_every_wrong_field_is_named(refusing: World, changes: Any, path: str) -> None:
    async with refusing.raw() as http:
        for place in ("/v1/jobs", "/v1/jobs/plan"):
            answer = await http.post(place, json=body(refusing, **changes))
            found = problem(answer)
            assert (answer.status_code, found["type"]) == (422, "urn:stoker:problem:invalid-request"), answer.text
            assert path in [error["path"] for error in found["errors"]], found
    assert await rows(refusing, select(jobs.c.id)) == []


async def test_several_wrong_fields_are_named_at_once(refusing: World) -> None:
    wrong = {"command": ["\0"], "environment": {"=": "x"}, "files": {"..": "%"}}
    async with refusing.raw() as http:
        found = problem(await http.post("/v1/jobs", json=body(refusing, **wrong)))
    assert {error["path"] for error in found["errors"]} == {"command[0]", "environment.=", "files..."}


async def test_one_unit_too_many_is_refused_with_the_limit(refusing: World) -> None:
    async with refusing.raw() as http:
        head = f'{{"profile_id":"{refusing.profile.id}","command":["true"],"units":['
        content = head.encode() + b",".join([b"{}"] * (MAX_UNITS + 1)) + b"]}"
        answer = await http.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    [error] = problem(answer)["errors"]
    assert error["path"] == "units"
    assert "1,000,000" in error["message"] or "1000000" in error["message"]


async def test_files_over_the_limit_and_bodies_over_the_limit_are_refused(world: World) -> None:
    async with world.executor(STOKER_MAX_BODY_BYTES=str(24 * 1024**2)), world.raw() as http:
        half = encoded(b"x" * (MAX_FILES_BYTES // 2 + 1))
        answer = await http.post("/v1/jobs", json=body(world, files={"a": half, "b": half}))
        assert [error["path"] for error in problem(answer)["errors"]] == ["files"]
        answer = await http.post("/v1/jobs", json=body(world, files={"a": "A" * 25 * 1024**2}))
        assert (answer.status_code, problem(answer)["type"]) == (413, "urn:stoker:problem:payload-too-large")


async def test_what_is_no_json_is_told_so(refusing: World) -> None:
    async with refusing.raw() as http:
        json_type = {"Content-Type": "application/json"}
        answer = await http.post("/v1/jobs", content=b"{", headers=json_type)
        assert (answer.status_code, problem(answer)["type"]) == (400, "urn:stoker:problem:malformed-body")
        answer = await http.post("/v1/jobs", content=b"a=b", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415


@pytest.mark.both_databases
async def test_all_of_a_job_is_stored(world: World, executor: ExecutorClient) -> None:
    arguments: list[dict[str, Any]] = [{"path": "a b\n$(x)"}, {"path": "\0", "n": [1, 2.5, None, {"ü": "😀"}]}]
    files = {"input/table.csv": encoded(b"1;2\n"), "with space": encoded(b"")}
    submit = world.submission(
        "prog", "", "{args.path}", units=arguments, files=files, environment={"A": "1"}, name="n"
    )
    job = await executor.submit(submit)
    assert (job.state, job.name, job.owner, job.command) == ("accepted", "n", "root", ["prog", "", "{args.path}"])
    assert job.folder == f"{job.created_at:%Y-%m}/{job.id}"
    found = [unit async for unit in executor.units(job.id)]
    assert [unit.arguments for unit in found] == arguments
    stored = await rows(world, select(job_files.c.name, job_files.c.content).order_by(job_files.c.name))
    assert [tuple(row) for row in stored] == [("input/table.csv", b"1;2\n"), ("with space", b"")]
    assert len(await rows(world, select(batches.c.id))) == 1


async def test_a_plan_stores_nothing(world: World, executor: ExecutorClient) -> None:
    plan = await executor.plan(world.submission("true", units=[{}] * 5))
    assert [(batch.first, batch.unit_count, batch.parallel) for batch in plan.batches] == [(0, 5, 2)]
    assert await rows(world, select(jobs.c.id)) == []
    assert await rows(world, select(profile_holds)) == []


@pytest.mark.both_databases
async def test_a_repeated_call_is_the_same_job(world: World, executor: ExecutorClient) -> None:
    first = await executor.submit(world.submission("true"), idempotency_key="k")
    again = await executor.submit(world.submission("true"), idempotency_key="k")
    other = await executor.submit(world.submission("true"), idempotency_key="l")
    assert first.id == again.id != other.id
    with pytest.raises(Invalid, match="another request") as caught:
        await executor.submit(world.submission("false"), idempotency_key="k")
    assert caught.value.slug == "idempotency-key-reused"
    key = (await world.registry_client.create_access_key(AccessKeyCreate(name="other", role="admin"))).key
    async with world.client(key) as stranger:
        theirs = await stranger.submit(world.submission("true"), idempotency_key="k")
    assert theirs.id not in {first.id, other.id}


@pytest.mark.both_databases
async def test_identical_calls_at_once_make_one_job(world: World, executor: ExecutorClient) -> None:
    calls = (executor.submit(world.submission("true", units=[{}] * 100), idempotency_key="k") for _ in range(12))
    found = await asyncio.gather(*calls)
    assert len({job.id for job in found}) == 1
    assert len(await rows(world, select(jobs.c.id))) == 1
    assert len(await rows(world, select(units.c.unit_index))) == 100


async def test_a_resource_that_takes_no_new_jobs_says_so(world: World, executor: ExecutorClient) -> None:
    await executor.submit(world.submission("true"))
    await world.registry_client.patch_resource(world.resource.id, {"prevent_new_submissions": True})
    with pytest.raises(Conflict) as caught:
        await executor.submit(world.submission("true"))
    assert caught.value.slug == "submissions-prevented"
    with pytest.raises(Conflict):
        await executor.plan(world.submission("true"))


async def test_what_is_not_granted_looks_absent(world: World, executor: ExecutorClient) -> None:
    granted = await world.user_key(world.registry_client, "ann")
    not_granted = await world.user_key(world.registry_client, "bob", granted=False)
    async with world.client(not_granted) as bob:
        with pytest.raises(NotFound) as hidden:
            await bob.submit(world.submission("true"))
    submit = world.submission("true")
    submit.profile_id = "0" * 26
    with pytest.raises(NotFound) as absent:
        await executor.submit(submit)
    assert hidden.value.message.replace(world.profile.id, "…") == absent.value.message.replace("0" * 26, "…")
    async with world.client(granted) as ann:
        assert (await ann.submit(world.submission("true"))).owner == "ann"


async def test_kinds_that_are_not_served_are_refused_in_words(world: World) -> None:
    async with world.executor(STOKER_RESOURCE_TYPES="slurm_ssh") as executor:
        with pytest.raises(Invalid) as caught:
            await executor.submit(world.submission("true"))
    assert [error.path for error in caught.value.errors] == ["profile_id"]


async def test_the_registry_refuses_to_delete_what_a_job_uses(world: World, executor: ExecutorClient) -> None:
    for _ in range(3):
        await executor.submit(world.submission("true"))
    with pytest.raises(Conflict) as caught:
        await world.registry_client.delete_profile(world.profile.id)
    assert caught.value.slug == "in-use"
    held = await rows(world, select(profile_holds.c.token, profile_holds.c.state))
    assert [row.state for row in held] == ["held"]
    assert [hold.token async for hold in world.registry_client.holds()] == [held[0].token]


@pytest.mark.both_databases
async def test_first_jobs_at_once_leave_one_hold(world: World, executor: ExecutorClient) -> None:
    await asyncio.gather(*(executor.submit(world.submission("true")) for _ in range(8)))

    async def one_hold() -> bool:
        return len([hold async for hold in world.registry_client.holds()]) == 1

    await until(one_hold)
    [row] = await rows(world, select(profile_holds.c.token))
    assert [hold.token async for hold in world.registry_client.holds()] == [row.token]


async def test_without_the_registry_jobs_are_not_accepted_and_can_be_read(world: World, tmp_path: Any) -> None:
    other = World(tmp_path, world.executor_database_url, world.redis_url)
    other.registry_database_url = world.registry_database_url.replace("registry.db", "second.db")
    async with other.registry() as registry:
        await other.add_local_resource(registry)
        executor = other.executor()
        client = await executor.__aenter__()
        job = await client.submit(other.submission("true"))
    try:
        assert (await client.job(job.id)).id == job.id
        with pytest.raises(Unavailable):
            await client.submit(other.submission("true"))
    finally:
        await executor.__aexit__(None, None, None)
