"""Jobs whose units put anything into the place of any file: each can be ended and removed, and the others go on."""

import asyncio
import base64
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stoker.clients.executor import ExecutorClient
from stoker.contracts.jobs import Job, JobSubmit
from stoker.errors import Conflict
from tests.waiting import until
from tests.workshop.serving import FINAL, World, ended

pytestmark = pytest.mark.anyio

NAMES = ["alive.zz", "claim", "claim.r7", "end.json", "events.jsonl", "results.jsonl", "runner.log", "batch.json"]
NAMES += ["units.jsonl", "stop", "logs", "logs/slot-0.log", "lost-claim.x", "reserve.x", "alive.*"]
REPLACE = """
cd ../batches/00000
for name in "$@"; do
  for file in $name; do
    rm -rf "$file"
    case "$KIND" in
      fifo) mkfifo "$file" ;;
      link) ln -s /dev/zero "$file" ;;
      loop) ln -s "$file" "$file" ;;
      folder) mkdir -p "$file/inside" ;;
      text) printf '[[[[{' > "$file" ;;
      nothing) ;;
    esac
  done
done
[ -z "$GATE" ] || while [ ! -e "$GATE" ]; do sleep 0.05; done
"""
KINDS = ["fifo", "link", "loop", "folder", "text", "nothing"]
FUZZ = """
import base64, json, os, pathlib, shutil, sys

def write(path, how, data):
    # The unit itself must not wait for somebody at the other end of a pipe.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | how, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)

os.chdir("../batches/00000")
for name, kind, content in json.load(open("../../work/writes")):
    for path in list(pathlib.Path(".").glob(name)) or [pathlib.Path(name.replace("*", "x"))]:
        try:
            data = base64.b64decode(content)
            if kind == "append":
                write(path, os.O_APPEND, data)
                continue
            if kind == "cut":
                os.truncate(path, min(len(data), path.stat().st_size))
                continue
            if kind == "stretch":
                os.truncate(path, 3 * 1024**3)
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            if kind == "write":
                write(path, os.O_TRUNC, data)
            elif kind == "fifo":
                os.mkfifo(path)
            elif kind == "link":
                path.symlink_to("/dev/zero")
            elif kind == "folder":
                path.mkdir()
        except OSError:
            pass
"""


def hostile(world: World, kind: str, names: list[str], gate: str = "") -> JobSubmit:
    """A job whose unit puts something else into the place of files of its batch, then waits for the gate."""
    return world.submission("sh", "-c", REPLACE, "sh", *names, environment={"KIND": kind, "GATE": gate})


async def over_and_gone(client: ExecutorClient, job_id: str) -> Job:
    """The job after its end, when it has been shown in every way and removed."""
    job = await ended(client, job_id)
    assert job.state in FINAL
    assert [one async for one in client.batches(job_id)]
    assert [one async for one in client.units(job_id)]
    await client.delete_job(job_id)
    return job


@pytest.mark.parametrize("kind", KINDS)
async def test_every_such_job_ends_and_can_be_removed(world: World, working: ExecutorClient, kind: str) -> None:
    jobs = [await working.submit(hostile(world, kind, [name])) for name in NAMES]
    jobs.append(await working.submit(hostile(world, kind, NAMES)))
    for job in jobs:
        await over_and_gone(working, job.id)
    assert (await ended(working, (await working.submit(world.submission("true"))).id)).state == "succeeded"


async def test_every_such_job_can_be_cancelled_while_it_runs(world: World, working: ExecutorClient) -> None:
    gate = str(world.folder / "never")
    jobs = [await working.submit(hostile(world, kind, [name], gate)) for name in NAMES for kind in ("fifo", "text")]
    for job in jobs:
        with contextlib.suppress(Conflict):  # some have ended: their runner shows no sign of life any more
            await working.cancel(job.id)
    for job in jobs:
        await over_and_gone(working, job.id)


async def test_ten_such_jobs_leave_the_job_of_another_profile_alone(world: World, working: ExecutorClient) -> None:
    other = await world.registry_client.create_profile(world.resource.id, {"name": "other", "resource_type": "local"})
    gate = world.folder / "gate"
    jobs = [await working.submit(hostile(world, "fifo", NAMES, str(gate))) for _ in range(10)]
    for _ in range(5):
        began = time.monotonic()
        job = await working.submit(JobSubmit(profile_id=other.id, command=["true"], units=[{}]))
        assert (await ended(working, job.id, seconds=60)).state == "succeeded"
        assert time.monotonic() - began < 30
    gate.touch()
    for job in jobs:
        await over_and_gone(working, job.id)


async def test_a_job_says_what_was_wrong_with_its_files(world: World, working: ExecutorClient) -> None:
    gate = world.folder / "gate"
    job = await working.submit(hostile(world, "text", ["claim"], str(gate)))
    await until(lambda: any(world.jobs_dir.glob("*/*/batches/00000/events.jsonl")))
    await working.cancel(job.id)
    found = await ended(working, job.id)
    assert found.state == "cancelled"
    [batch] = [one async for one in working.batches(job.id)]
    assert batch.remark is None or "claim makes no sense" in batch.remark


@asynccontextmanager
async def stack(folder: Path, redis_url: str) -> AsyncIterator[tuple[World, ExecutorClient]]:
    """All services on a database of their own."""
    world = World(folder, f"sqlite:///{folder / 'executor.db'}", redis_url)
    async with world.registry() as world.registry_client:
        await world.add_local_resource(world.registry_client)
        async with world.executor() as client, world.poller():
            yield world, client


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=8), SCALARS, max_size=3)
LARGE = {
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "a number": b"9" * 100_000,
    "empty lines": b"\n" * 100_000,
    "lines": b"x\n" * 5000,
}
FIELDS = ["unit", "attempt", "outcome", "start", "end", "exit_code", "signal", "reason", "peak_memory_bytes"]
FIELDS += ["cpu_seconds", "slot", "log", "output", "event", "at", "native_id", "host", "log_start", "how", "kind"]
FIELDS += ["restart", "pid", "start_time", "nonce", "boot_id", "results", "format", "mark", "parallel"]
PLAUSIBLE = st.sampled_from([0, 1, 2**31, 2**63, 10**40, -1, 1e300, "start", "claimed", "succeeded", "failed"])
RECORDS = st.dictionaries(st.sampled_from(FIELDS), PLAUSIBLE | VALUES, max_size=6)


def encoded(value: object) -> bytes:
    """JSON as Python writes it, with what is no JSON (NaN), and halves of characters."""
    return json.dumps(value).encode()


def told_bytes(content: bytes | str) -> str:
    """Bytes, or those of this name, as a text."""
    return base64.b64encode(LARGE[content] if isinstance(content, str) else content).decode()


CONTENTS = st.one_of(
    st.binary(max_size=200),
    RECORDS.map(encoded),
    st.lists(RECORDS.map(encoded) | st.binary(max_size=50), max_size=5).map(lambda lines: b"\n".join([*lines, b""])),
    st.sampled_from(sorted(LARGE)),
)
WRITES = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["append", "append", "append", "write", "write", "cut", "stretch", "fifo", "link", "folder"]),
    CONTENTS,
)


@pytest.mark.timeout(600)
def test_whatever_units_write_into_the_files_of_their_batch(tmp_path: Path, embedded_redis_url: str) -> None:
    async def fuzz() -> None:
        async with stack(tmp_path, embedded_redis_url) as (world, client):
            loop = asyncio.get_running_loop()

            async def one(writes: list[tuple[str, str, bytes | str]]) -> None:
                told = [(name, kind, told_bytes(content)) for name, kind, content in writes]
                files = {"writes": base64.b64encode(encoded(told)).decode()}
                job = await client.submit(world.submission("python3", "-c", FUZZ, units=[{}, {}], files=files))
                await over_and_gone(client, job.id)
                honest = await client.submit(world.submission("true"))
                assert (await ended(client, honest.id)).state == "succeeded"

            def example(writes: list[tuple[str, str, bytes | str]]) -> None:
                asyncio.run_coroutine_threadsafe(one(writes), loop).result(150)

            checked = settings(
                max_examples=int(os.environ.get("STOKER_FUZZ_EXAMPLES", "10")),
                deadline=None,
                derandomize=True,
                database=None,
                # A job that does not end is told as it is: looking for a shorter one would take hours.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(st.lists(WRITES, min_size=1, max_size=8))(example))
            await asyncio.to_thread(checked)

    asyncio.run(fuzz())
