"""Logs, results and the archive over real agents and runners: bytes as they are, live while they are made."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stoker.clients.executor import ExecutorClient
from stoker.contracts.needs import Retries
from stoker.errors import NotFound
from tests.waiting import until
from tests.workshop.serving import World, ended

pytestmark = pytest.mark.anyio

STEPS = """
echo one of {unit}
while [ ! -e "$0/{unit}-1" ]; do sleep 0.02; done
printf 'two \\377\\000 no line end'
while [ ! -e "$0/{unit}-2" ]; do sleep 0.02; done
"""


# 200 MB as fast as they go, then little by little until the test has seen enough.
POURS = """
import os, pathlib, sys, time
for _ in range(200):
    os.write(1, b"x" * 999_999 + b"\\n")
while not pathlib.Path(sys.argv[1]).exists():
    os.write(1, b"y" * 99 + b"\\n")
    time.sleep(0.01)
"""
POURED_BYTES = 200_000_000


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


class Heard:
    """Bytes that a follower has been given so far."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.data = b""
        self._task = asyncio.create_task(self._listen(chunks))

    async def _listen(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            self.data += chunk

    async def all(self) -> bytes:
        async with asyncio.timeout(120):
            await self._task
        return self.data


async def test_a_log_is_followed_while_it_is_written(world: World, working: ExecutorClient) -> None:
    gates = world.folder / "gates"
    gates.mkdir()
    # One slot: the second unit writes behind the first one, into the same file.
    submit = world.submission("sh", "-c", STEPS, str(gates), units=[{}, {}], parallel_tasks_per_job=1)
    job = await working.submit(submit)
    first, second = (Heard(working.unit_log(job.id, index, follow=True)) for index in (0, 1))
    await until(lambda: first.data == b"one of 0\n")
    assert await read(working.unit_log(job.id, 0)) == b"one of 0\n"
    assert await read(working.unit_log(job.id, 1)) == b""
    (gates / "0-1").touch()
    await until(lambda: first.data == b"one of 0\ntwo \xff\x00 no line end")
    (gates / "0-2").touch()
    assert await first.all() == b"one of 0\ntwo \xff\x00 no line end"
    await until(lambda: second.data == b"one of 1\n")
    (gates / "1-1").touch()
    (gates / "1-2").touch()
    assert await second.all() == b"one of 1\ntwo \xff\x00 no line end"
    assert (await ended(working, job.id)).state == "succeeded"
    assert await read(working.unit_log(job.id, 0, offset=4, limit=5)) == b"of 0\n"
    assert await read(working.unit_log(job.id, 1, offset=10**9)) == b""
    whole = await read(working.log(job.id))
    assert whole.startswith(b"==> batch 0, slot 0 <==\none of 0\n")
    assert whole.count(b"two \xff\x00 no line end") == 2


async def test_units_that_hurry_never_get_bytes_of_the_next(world: World, working: ExecutorClient) -> None:
    units: list[dict[str, Any]] = [{}] * 120
    job = await working.submit(world.submission("sh", "-c", "echo unit {unit}", units=units))
    followers = [Heard(working.unit_log(job.id, index, follow=True)) for index in range(0, 120, 12)]
    for index, heard in zip(range(0, 120, 12), followers, strict=True):
        assert await heard.all() == f"unit {index}\n".encode()


async def test_a_large_log_is_read_in_pieces(world: World, working: ExecutorClient) -> None:
    job = await working.submit(world.submission("sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x"))
    assert (await ended(working, job.id)).state == "succeeded"
    async with world.raw() as http, http.stream("GET", f"/v1/jobs/{job.id}/units/0/log") as answer:
        assert answer.headers["stoker-log-size"] == "20000000"
        size = 0
        async for chunk in answer.aiter_raw():
            size += len(chunk)
    assert size == 20_000_000
    assert await read(working.unit_log(job.id, 0, offset=19_999_990)) == b"x" * 10


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_200_megabytes_are_followed_while_they_are_written_and_hold_up_nobody(
    world: World, working: ExecutorClient
) -> None:
    gate = world.folder / "enough"
    job = await working.submit(world.submission("python3", "-c", POURS, str(gate)))
    heard = 0

    async def listen() -> None:
        nonlocal heard
        async for chunk in working.unit_log(job.id, 0, follow=True):
            heard += len(chunk)

    listening = asyncio.create_task(listen())
    await until(lambda: heard > 0)
    # The log's reader shares its pipe with this, which is answered long before the reader is through.
    assert await read(working.unit_log(job.id, 0, limit=3)) == b"xxx"
    assert heard < POURED_BYTES
    # So does the whole life of another job: its files, launch, end and log.
    other = await working.submit(world.submission("echo", "quick"))
    assert (await ended(working, other.id)).state == "succeeded"
    assert await read(working.unit_log(other.id, 0)) == b"quick\n"
    # The reader keeps up with a unit that is still writing.
    await until(lambda: heard > POURED_BYTES)
    assert (await working.job(job.id)).counts.running == 1
    gate.touch()
    async with asyncio.timeout(120):
        await listening
    assert (await ended(working, job.id)).state == "succeeded"
    size = next((world.jobs_dir / job.folder).glob("batches/*/logs/*")).stat().st_size
    assert heard == size


async def test_a_reader_that_goes_away_leaves_nothing_behind(world: World, working: ExecutorClient) -> None:
    job = await working.submit(world.submission("sh", "-c", "head -c 20000000 /dev/zero"))
    await ended(working, job.id)
    for _ in range(12):
        async with world.raw() as http, http.stream("GET", f"/v1/jobs/{job.id}/units/0/log") as answer:
            async for _chunk in answer.aiter_raw(1024):
                break
    # The same pipe carries on.
    assert await read(working.unit_log(job.id, 0, limit=3)) == b"\0\0\0"


async def test_a_reader_that_stalls_holds_up_nobody_else(world: World, working: ExecutorClient) -> None:
    command = "head -c {args.bytes} /dev/zero | tr '\\0' x"
    job = await working.submit(world.submission("sh", "-c", command, units=[{"bytes": 20_000_000}, {"bytes": 5}]))
    await ended(working, job.id)
    async with world.raw() as http, http.stream("GET", f"/v1/jobs/{job.id}/units/0/log") as stalled:
        chunks = stalled.aiter_raw(1024)
        size = len(await anext(chunks))
        # Another request over the same pipe, while nobody takes what comes for the first one.
        assert await read(working.unit_log(job.id, 1)) == b"xxxxx"
        async for chunk in chunks:
            size += len(chunk)
    assert size == 20_000_000


async def test_the_whole_log_is_followed_to_the_end(world: World, working: ExecutorClient) -> None:
    gates = world.folder / "gates"
    gates.mkdir()
    job = await working.submit(world.submission("sh", "-c", STEPS, str(gates), units=[{}, {}, {}]))
    heard = Heard(working.log(job.id, follow=True))
    await until(lambda: heard.data.count(b"one of") == 2)
    for name in ("0-1", "0-2", "1-1", "1-2", "2-1", "2-2"):
        (gates / name).touch()
    assert (await heard.all()).count(b"one of") == 3


@pytest.mark.both_databases
async def test_the_whole_log_goes_on_with_a_second_attempt(world: World, working: ExecutorClient) -> None:
    gate, second = world.folder / "gate", "[ -e tried ] && echo second && exit"
    script = f"{second}; echo first; touch tried; until [ -e {gate} ]; do sleep 0.05; done; exit 1"
    job = await working.submit(world.submission("sh", "-c", script, retries=Retries(count=1, on=["exit_code"])))
    heard = Heard(working.log(job.id, follow=True))
    await until(lambda: b"first" in heard.data)
    gate.touch()
    assert await heard.all() == b"==> batch 0, slot 0 <==\nfirst\n==> batch 1, slot 0 <==\nsecond\n"


async def test_the_archive_holds_the_folder_and_leads_nowhere(world: World, working: ExecutorClient) -> None:
    script = r"""
mkdir -p out/deep; echo data > "out/deep/a b"; echo x > 'back\slash'; ln -s /etc/passwd link; mkfifo pipe
printf y > "$(printf 'caf\351')"; head -c 300000 /dev/urandom > big; echo z > job.json; cp {args_json} {out_json}
"""
    job = await working.submit(world.submission("sh", "-c", script, units=[{"n": 1}]))
    over = await ended(working, job.id)
    assert over.state == "succeeded", over
    archive = zipfile.ZipFile(io.BytesIO(await read(working.archive(job.id))))
    assert archive.testzip() is None
    names = archive.namelist()
    assert len(set(names)) == len(names)
    assert all(name.startswith(f"{job.id}/") and ".." not in name for name in names)
    content = {name.removeprefix(f"{job.id}/"): name for name in names}
    assert archive.read(content["work/out/deep/a b"]) == b"data\n"
    assert archive.read(content["work/big"]) == (world.jobs_dir / job.folder / "work/big").read_bytes()
    assert {"work/back\\slash", "work/job.json", "batches/00000/results.jsonl", "job.json", "results.jsonl"} <= set(
        content
    )
    assert b'"output":{"n":1}' in archive.read(content["results.jsonl"])
    assert "work/link" not in content
    left_out = archive.read(content["left-out.txt"])
    assert b"work/link" in left_out
    assert b"work/pipe" in left_out
    assert "runner.py" not in content


async def test_a_job_without_a_folder_has_an_archive_too(world: World, working: ExecutorClient) -> None:
    job = await working.submit(world.submission("true"))
    await ended(working, job.id)
    agent_side = world.jobs_dir / job.folder
    agent_side.rename(world.folder / "elsewhere")
    archive = zipfile.ZipFile(io.BytesIO(await read(working.archive(job.id))))
    assert {name.partition("/")[2] for name in archive.namelist()} == {"results.jsonl", "job.json", "left-out.txt"}
    with pytest.raises(NotFound):
        await working.unit_log(job.id, 5).__anext__()
