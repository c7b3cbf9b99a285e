"""Units own the folder of their batch, and may write whatever they like into the files that are read there.

Real jobs on a local resource: each ends, says what was left out, is shown, and can be removed by its owner.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from stoker.clients.executor import ExecutorClient
from stoker.contracts.jobs import Batch, Unit
from tests.workshop.serving import World, ended

pytestmark = pytest.mark.anyio

RESULT = {"unit": 0, "attempt": 1, "outcome": "succeeded"}
START = {"event": "start", "unit": 0, "attempt": 1, "at": 1.0, "slot": 0, "log_start": 0}
CLAIMED = {"event": "claimed", "at": 1.0, "native_id": "n", "host": "h"}
APPEND = ["sh", "-c", 'cat forged >> "../batches/00000/$0"']


def line(record: dict[str, Any], **changes: Any) -> bytes:
    """A record as JSON, with some fields otherwise."""
    return json.dumps(record | changes).encode() + b"\n"


def with_output(output: bytes) -> bytes:
    """A result with these bytes in the place of its output."""
    return json.dumps(RESULT).encode()[:-1] + b',"output":' + output + b"}\n"


LEFT_OUT = {
    "memory over 64 bits": ("results.jsonl", line(RESULT, peak_memory_bytes=10**40)),
    "negative memory": ("results.jsonl", line(RESULT, peak_memory_bytes=-1)),
    "exit code over 64 bits": ("results.jsonl", line(RESULT, exit_code=2**63 + 5)),
    "exit code over 32 bits": ("results.jsonl", line(RESULT, exit_code=2**31)),
    "unit over 64 bits": ("results.jsonl", line(RESULT, unit=2**70)),
    "attempt at the limit": ("results.jsonl", line(RESULT, attempt=2**31 - 1)),
    "start after all dates": ("results.jsonl", line(RESULT, start=1e300)),
    "start before all dates": ("results.jsonl", line(RESULT, start=-1e12)),
    "end after all dates": ("results.jsonl", line(RESULT, end=1e300)),
    "infinite CPU time": ("results.jsonl", line(RESULT).replace(b"}", b',"cpu_seconds":1e999}')),
    "negative log range": ("results.jsonl", line(RESULT, log=[-5, 10**15])),
    "slot over 32 bits": ("results.jsonl", line(RESULT, slot=2**40)),
    "deep nesting": ("results.jsonl", b'{"unit":' + b"[" * 100_000 + b"\n"),
    "not UTF-8": (
        "results.jsonl",
        b'{"unit":0,"attempt":1,"outcome":"succeeded","reason":{"code":"\xff","text":""}}\n',
    ),
    "a line of 3 MB": ("results.jsonl", line(RESULT, reason={"code": "c", "text": "x" * 3_000_000})),
    "event's unit over 64 bits": ("events.jsonl", line(START, unit=2**70)),
    "event's attempt at the limit": ("events.jsonl", line(START, attempt=2**31 - 1)),
    "event's moment": ("events.jsonl", line(START, at=1e300)),
    "event's place in the log": ("events.jsonl", line(START, log_start=2**64)),
    "a host with a null character": ("events.jsonl", line(CLAIMED, host="a\0b")),
    "a host of 4,000 characters": ("events.jsonl", line(CLAIMED, host="a" * 4000)),
    "2,000 lines of nothing": ("results.jsonl", b"x\n" * 2000),
}
CUT = {
    "output over the limit": (with_output(b'"' + b"x" * 1_050_000 + b'"'), "output_too_large"),
    "output that is not UTF-8": (with_output(b'"\xff\xfe"'), "invalid_output"),
    "output with an infinite number": (with_output(b"[1e999]"), "invalid_output"),
    "output that is nested deeply": (with_output(b"[" * 200 + b"]" * 200), "invalid_output"),
}


async def submitted(world: World, client: ExecutorClient, file: str, forged: bytes) -> str:
    """The id of a job whose unit appends these bytes to a file of its batch."""
    files = {"forged": base64.b64encode(forged).decode()}
    return (await client.submit(world.submission(*APPEND, file, files=files))).id


async def seen(client: ExecutorClient, job_id: str) -> tuple[Batch, Unit]:
    """The one batch and the one unit of a job that has to end, and that can be removed afterwards."""
    await ended(client, job_id)
    [batch] = [one async for one in client.batches(job_id)]
    [unit] = [one async for one in client.units(job_id)]
    async for _ in client.unit_log(job_id, 0):
        pass
    async for _ in client.log(job_id):
        pass
    await client.delete_job(job_id)
    return batch, unit


@pytest.mark.both_databases
async def test_what_does_not_fit_is_left_out_and_told(world: World, working: ExecutorClient) -> None:
    jobs = {name: await submitted(world, working, *forged) for name, forged in LEFT_OUT.items()}
    for name, job_id in jobs.items():
        batch, unit = await seen(working, job_id)
        assert batch.remark is not None, name
        assert "left out" in batch.remark, name
        # After too much of it nothing more is read; else what the runner wrote behind it counts.
        assert unit.state == ("lost" if "2,000" in name else "succeeded"), name


async def test_outputs_and_reasons_over_the_limits_are_cut_like_honest_ones(
    world: World, working: ExecutorClient
) -> None:
    jobs = {name: await submitted(world, working, "results.jsonl", forged) for name, (forged, _) in CUT.items()}
    long = line(
        RESULT, outcome="failed", reason={"code": "c" * 500, "text": "x" * 500_000, "log_tail": "y" * 500_000}
    )
    told = await submitted(world, working, "results.jsonl", long)
    for name, job_id in jobs.items():
        _, unit = await seen(working, job_id)
        assert (unit.state, unit.output) == ("failed", None), name
        assert unit.reason is not None
        assert unit.reason.code == CUT[name][1], name
    _, unit = await seen(working, told)
    assert unit.reason is not None
    assert len(unit.reason.code) <= 100
    assert len(unit.reason.text) <= 4000
    assert len(unit.reason.log_tail) <= 2000


async def test_the_log_ends_where_the_file_ends_whatever_range_is_claimed(
    world: World, working: ExecutorClient
) -> None:
    command = ["sh", "-c", "echo words; cat forged >> ../batches/00000/results.jsonl"]
    files = {"forged": base64.b64encode(line(RESULT, slot=0, log=[0, 10**15])).decode()}
    job = await working.submit(world.submission(*command, files=files))
    await ended(working, job.id)
    assert b"".join([chunk async for chunk in working.unit_log(job.id, 0)]) == b"words\n"
    async with world.raw() as http:
        assert (await http.get(f"/v1/jobs/{job.id}/units/0/log")).headers["stoker-log-size"] == "6"


@pytest.mark.parametrize("claimed", ["3G", "200M"])
async def test_a_file_that_claims_any_length_is_read_with_little_memory(
    world: World, working: ExecutorClient, claimed: str
) -> None:
    command = ["sh", "-c", f"truncate -s {claimed} ../batches/00000/results.jsonl"]
    before = _memory_bytes()
    job = await working.submit(world.submission(*command))
    batch, unit = await seen(working, job.id)
    assert batch.remark is not None
    assert unit.state == "lost"
    assert _memory_bytes() < before + 100_000_000


def _memory_bytes() -> int:
    """The most memory that this process, in which the services run, has used."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    return peak * 1024
