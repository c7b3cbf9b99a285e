"""Jobs over HTTP: running, listing, running again, cancelling, removing, and whose they are."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from services.executor.jobs.cancellation import Cancellation
from services.executor.jobs.catalogue import JobCatalogue
from services.executor.repositories.jobs import NewJob, add_units, insert_job
from services.executor.repositories.migrations import LOCATION
from shared.service.database.migrations import upgrade
from shared.service.database.transactions import Database
from stoker.clients.executor import ExecutorClient
from stoker.contracts.jobs import Job, PlannedBatch, Unit
from stoker.contracts.keys import Caller
from stoker.errors import Conflict, Invalid, NotFound
from tests.waiting import until
from tests.workshop.serving import World, ended, problem

pytestmark = pytest.mark.anyio
# Waits until a file is there, so that the test decides when a unit ends.
UNTIL_FILE = 'while [ ! -e "$0" ]; do sleep 0.02; done'


async def said(client: ExecutorClient, job: Job, index: int = 0) -> str:
    return b"".join([chunk async for chunk in client.unit_log(job.id, index)]).decode()


async def test_a_job_runs_and_its_results_come_in_order(world: World, working: ExecutorClient) -> None:
    units = [{"n": n} for n in range(20)]
    submit = world.submission("sh", "-c", "cp {args_json} {out_json}; echo unit {unit}", units=units)
    job = await working.submit(submit)
    assert (job.state, job.unit_count, job.counts.waiting) == ("accepted", 20, 20)
    over = await ended(working, job.id)
    assert over.state == "succeeded", over
    results = [result async for result in working.results(job.id)]
    assert [(result.index, result.output) for result in results] == [(n, {"n": n}) for n in range(20)]
    unit = await working.unit(job.id, 7)
    assert (unit.state, unit.exit_code, unit.log_bytes) == ("succeeded", 0, len("unit 7\n"))
    [batch] = [batch async for batch in working.batches(job.id)]
    assert (batch.state, batch.counts.succeeded) == ("ended", 20)
    assert [entry.resource_id for entry in (await working.usage()).resources] == [world.resource.id]


async def test_a_jobs_own_lines_run_in_a_shell_before_each_unit_on_a_local_resource(
    world: World, working: ExecutorClient
) -> None:
    submit = world.submission(
        "sh", "-c", 'echo "$GREETING {unit}, $0"', "{args.word}", units=[{"word": "{unit}"}] * 2
    )
    submit.worker_init = "GREETING='{unit} and $HOME'\nexport GREETING\n"
    over = await ended(working, (await working.submit(submit)).id)
    assert over.state == "succeeded", over
    assert over.command == submit.command
    lines = [await said(working, over, index) for index in range(2)]
    assert lines == [f"{{unit}} and $HOME {index}, {{unit}}\n" for index in range(2)]
    submit.worker_init = "echo no licence; exit 7"
    failed = await ended(working, (await working.submit(submit)).id)
    assert (failed.state, (await working.unit(failed.id, 0)).exit_code) == ("failed", 7)


async def test_the_cache_folder_is_the_jobs_or_the_profiles(
    world: World, working: ExecutorClient, tmp_path: Path
) -> None:
    show = ["sh", "-c", 'echo "$FRACTAL_CACHE_DIR $STOKER_CACHE_DIR"; test -d "$FRACTAL_CACHE_DIR"']
    own, shared = tmp_path / "own", tmp_path / "shared"
    submit = world.submission(*show)
    submit.cache_dir = str(own)
    over = await ended(working, (await working.submit(submit)).id)
    assert (over.state, await said(working, over)) == ("succeeded", f"{own} {own}\n")
    await world.registry_client.patch_profile(world.profile.id, {"cache_dir": str(shared)})
    over = await ended(working, (await working.submit(world.submission(*show))).id)
    assert (over.state, await said(working, over)) == ("succeeded", f"{shared} {shared}\n")
    submit.cache_dir = "/a/../b"
    with pytest.raises(Invalid) as caught:
        await working.submit(submit)
    assert [error.path for error in caught.value.errors] == ["cache_dir"]


@pytest.mark.both_databases
async def test_jobs_are_listed_from_the_newest_with_filters_and_cursors(
    world: World, executor: ExecutorClient
) -> None:
    made = [await executor.submit(world.submission("true", name=f"n{n % 2}")) for n in range(7)]
    newest_first = sorted((job.id for job in made), reverse=True)
    found: list[str] = []
    cursor = None
    while True:
        page = await executor.jobs(limit=3, cursor=cursor)
        found += [job.id for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == newest_first
    named = await executor.jobs(name="n1")
    assert {job.id for job in named.items} == {job.id for job in made[1::2]}
    assert (await executor.jobs(state="failed")).items == []
    assert (await executor.jobs(profile_id="other")).items == []
    assert len((await executor.jobs(resource_id=world.resource.id)).items) == 7
    middle = made[3].created_at
    after = await executor.jobs(created_after=middle)
    before = await executor.jobs(created_before=middle)
    assert {job.id for job in after.items} == {job.id for job in made[4:]}
    assert {job.id for job in before.items} == {job.id for job in made[:3]}
    assert (await executor.jobs(created_before=middle - timedelta(days=1))).items == []


@pytest.mark.usefixtures("executor")
async def test_wrong_parameters_are_named(world: World) -> None:
    async with world.raw() as http:
        for query in (
            "cursor=%25",
            "cursor=%00",
            "limit=0",
            "limit=x",
            "state=done",
            "created_after=2026-01-01T00:00",
        ):
            answer = await http.get(f"/v1/jobs?{query}")
            assert answer.status_code == 422, (query, answer.text)
            [error] = problem(answer)["errors"]
            assert query.partition("=")[0] in error["path"]


async def test_units_come_in_pages_of_any_state(world: World, executor: ExecutorClient) -> None:
    job = await executor.submit(world.submission("true", units=[{"n": n} for n in range(25)]))
    found = [unit async for unit in executor.units(job.id, page_size=10)]
    assert [(unit.index, unit.arguments, unit.state) for unit in found] == [
        (n, {"n": n}, "waiting") for n in range(25)
    ]
    assert [unit async for unit in executor.units(job.id, state="failed")] == []
    for index in (25, 10**12, 10**30):
        with pytest.raises(NotFound):
            await executor.unit(job.id, index)


async def test_other_owners_jobs_look_absent(world: World, executor: ExecutorClient) -> None:
    ann_key = await world.user_key(world.registry_client, "ann")
    bob_key = await world.user_key(world.registry_client, "bob")
    async with world.client(ann_key) as ann, world.raw(bob_key) as bob:
        job = await ann.submit(world.submission("true"))
        paths = ["", "/batches", "/units", "/units/0", "/units/0/log", "/log", "/results", "/archive"]
        for path in paths:
            theirs, absent = await bob.get(f"/v1/jobs/{job.id}{path}"), await bob.get(f"/v1/jobs/{'0' * 26}{path}")
            assert theirs.status_code == absent.status_code == 404, path
            words = [problem(answer)["detail"] for answer in (theirs, absent)]
            assert words[0].replace(job.id, "…") == words[1].replace("0" * 26, "…")
        for method, path in (("POST", "/cancel"), ("POST", "/rerun"), ("DELETE", "")):
            assert (await bob.request(method, f"/v1/jobs/{job.id}{path}")).status_code == 404
        assert (await bob.get(f"/v1/events?job_id={job.id}")).status_code == 404
        assert (await bob.get("/v1/jobs")).json()["items"] == []
        assert (await bob.get("/v1/usage")).json()["resources"] == []
        assert [job.id for job in (await ann.jobs()).items] == [job.id]
    assert [job.id for job in (await executor.jobs()).items] == [job.id]


async def test_roles_are_kept_apart(world: World, executor: ExecutorClient) -> None:
    job = await executor.submit(world.submission("true"))
    user = await world.user_key(world.registry_client, "ann")
    async with world.raw(world.service_key) as service, world.raw(user) as ann, world.raw("stk_nobody") as nobody:
        body = msgspec.to_builtins(world.submission("true"))
        assert (await service.post("/v1/jobs", json=body)).status_code == 403
        assert (await service.post(f"/v1/jobs/{job.id}/cancel")).status_code == 403
        assert (await service.get("/v1/watch-list")).status_code == 200
        assert (await ann.get("/v1/watch-list")).status_code == 403
        assert (await nobody.get("/v1/jobs")).status_code == 401


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nothing_but_health_answers_without_a_valid_key(world: World) -> None:
    async with world.raw() as admin, world.raw(f"stk_{'0' * 26}_{'A' * 43}") as nobody:
        document = (await admin.get("/schema/openapi.json")).json()
        calls = [(method, path) for path, operations in document["paths"].items() for method in operations]
        assert len(calls) > 15
        calls += [("get", path) for path in ("/metrics", "/schema", "/schema/openapi.json", "/no/such/path")]
        for method, path in calls:
            answer = await nobody.request(method, path)
            if path.startswith("/health/"):
                assert answer.status_code == 200, (method, path)
            else:
                assert (answer.status_code, problem(answer)["type"]) == (401, "urn:stoker:problem:unauthorized")


@pytest.mark.both_databases
async def test_a_job_is_run_again_as_a_new_one(world: World, working: ExecutorClient) -> None:
    units = [{"n": n} for n in range(5)]
    first = await working.submit(
        world.submission("sh", "-c", "cat data; cp {args_json} {out_json}", units=units, files={"data": "aGVsbG8="})
    )
    await ended(working, first.id)
    async with world.raw() as http:
        answers = [
            await http.post(f"/v1/jobs/{first.id}/rerun", headers={"Idempotency-Key": "again"}) for _ in range(2)
        ]
        other = await http.post(f"/v1/jobs/{first.id}/rerun")
    assert [answer.status_code for answer in (*answers, other)] == [202, 202, 202]
    again = msgspec.json.decode(answers[0].content, type=Job)
    assert answers[0].headers["location"] == f"/v1/jobs/{again.id}"
    assert again.id == answers[1].json()["id"] != other.json()["id"] != first.id
    assert (await ended(working, again.id)).state == "succeeded"
    assert [result.output async for result in working.results(again.id)] == units
    assert b"".join([chunk async for chunk in working.unit_log(again.id, 3)]) == b"hello"


@pytest.mark.both_databases
async def test_cancelling_what_was_never_launched_ends_it_at_once(database_url: str) -> None:
    upgrade(database_url, LOCATION)
    database = Database(database_url)
    caller = Caller(key_id="k", role="user", owner="ann")
    batch = PlannedBatch(index=0, first=0, unit_count=3, parallel=2)
    values = dict.fromkeys(("name", "profile_id", "resource_id", "folder"), "")
    texts = {"command": '["true"]', "spec": "{}", "snapshot": "{}"}
    new = NewJob(
        id="0" * 26, owner="ann", key_id="k", created_at=1.0, unit_count=3, batches=[("b", batch)], **values, **texts
    )
    woken: list[bool] = []
    try:
        async with database.write() as connection:
            assert await insert_job(connection, new)
            await add_units(connection, new.id, [batch], ["{}"] * 3)
        cancelled = await Cancellation(database, lambda: woken.append(True)).cancel(caller, new.id)
        assert (cancelled.state, cancelled.counts.cancelled, woken) == ("cancelled", 3, [True])
        found, _ = await JobCatalogue(database).units(caller, new.id, state="cancelled", after=None, limit=10)
        shown = msgspec.json.decode(msgspec.json.encode(found), type=list[Unit])
        assert [unit.reason.text for unit in shown if unit.reason] == ["cancelled before it was started"] * 3
    finally:
        await database.close()


async def test_cancelling_ends_what_runs_and_says_so_when_repeated(world: World, working: ExecutorClient) -> None:
    gate = world.folder / "gate"
    job = await working.submit(world.submission("sh", "-c", UNTIL_FILE, str(gate), units=[{}] * 6))

    async def runs() -> bool:
        return (await working.job(job.id)).counts.running == 2

    await until(runs)
    first, second = await working.cancel(job.id), await working.cancel(job.id)
    assert first.cancel_requested_at == second.cancel_requested_at is not None
    over = await ended(working, job.id)
    assert (over.state, over.counts.cancelled) == ("cancelled", 6)
    with pytest.raises(Conflict, match="cancelled"):
        await working.cancel(job.id)


async def test_removing_takes_folder_and_rows_of_ended_jobs_only(world: World, working: ExecutorClient) -> None:
    gate = world.folder / "gate"
    job = await working.submit(world.submission("sh", "-c", UNTIL_FILE, str(gate)))
    with pytest.raises(Conflict, match="has not ended"):
        await working.delete_job(job.id)
    gate.touch()
    await ended(working, job.id)
    folder = world.jobs_dir / job.folder
    assert folder.is_dir()
    await working.delete_job(job.id)
    assert not folder.exists()
    with pytest.raises(NotFound):
        await working.job(job.id)
    with pytest.raises(NotFound):
        await working.delete_job(job.id)


async def test_the_health_of_what_is_needed_is_told(world: World, tmp_path: Path) -> None:
    async with world.executor(), world.raw() as http:
        assert (await http.get("/health/ready")).json()["checks"] == {
            "database": "ok",
            "redis": "ok",
            "registry": "ok",
        }
    async with world.executor(STOKER_REDIS_URL=f"unix://{tmp_path}/nothing.sock"), world.raw() as http:
        answer = await http.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["checks"]["redis"] != "ok"
        # Without the bus everything is answered all the same.
        assert (await http.get("/v1/jobs")).status_code == 200


async def test_many_readers_at_once_are_answered(world: World, executor: ExecutorClient) -> None:
    job = await executor.submit(world.submission("true", units=[{}] * 50))
    answers = await asyncio.gather(*(executor.job(job.id) for _ in range(40)))
    assert {answer.id for answer in answers} == {job.id}
