"""Whatever dies, and whenever: every unit runs once, the job ends, and a client misses no event."""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from stoker.contracts.jobs import FINAL_UNIT_STATES
from tests.stack.jobs import events_to_the_end, starts, submit_tracing
from tests.stack.running import ProcessName, RunningStack

pytestmark = pytest.mark.anyio
UNITS = 500


async def test_every_unit_runs_once_while_everything_around_it_is_killed(
    own_stack: RunningStack, tmp_path: Path
) -> None:
    chance = random.Random()  # noqa: S311 - moments, not secrets
    trace = tmp_path / "trace"
    job = await submit_tracing(own_stack, trace, units=UNITS, seconds=0.15)
    listening = asyncio.create_task(events_to_the_end(own_stack, job.id))
    victims: list[tuple[ProcessName, ...]] = [("executor",), ("poller",), ("redis",)] * 3
    victims += [("executor", "poller", "redis")] * 2
    chance.shuffle(victims)
    for names in victims:
        await asyncio.sleep(chance.uniform(0.1, 1.5))  # the moment is the point here, nothing is waited for
        for name in names:
            killed = own_stack.kill(name)
            await asyncio.to_thread(own_stack.restarted, name, killed)
    events = await listening
    assert [event.sequence for event in events] == list(range(1, len(events) + 1)), victims
    assert events[-1].state == "succeeded", victims
    assert starts(trace) == Counter(range(UNITS))
    assert events[-1].counts.succeeded == UNITS


async def test_a_killed_runner_loses_what_was_in_flight_and_the_rest_is_launched_again(
    own_stack: RunningStack, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job = await submit_tracing(own_stack, trace, units=40, seconds=0.3)
    async with own_stack.executor() as executor:
        while (await executor.job(job.id)).counts.succeeded < 8:
            await asyncio.sleep(0.05)
        (batch,) = [batch async for batch in executor.batches(job.id)]
    mark = f"STOKER_MARK={batch.id}".encode()
    runners = [
        pid for pid in _pids() if b"runner.py" in _read(pid, "cmdline") and job.id.encode() in _read(pid, "cmdline")
    ]
    assert runners
    for pid in runners:
        os.kill(pid, signal.SIGKILL)
    events = await events_to_the_end(own_stack, job.id)
    assert events[-1].state == "failed"
    async with own_stack.executor() as executor:
        units = [unit async for unit in executor.units(job.id)]
    states = Counter(unit.state for unit in units)
    assert states["succeeded"] >= 8
    assert 0 < states["lost"] <= batch.parallel
    assert states["lost"] == 40 - states["succeeded"]
    assert {unit.state for unit in units} <= FINAL_UNIT_STATES
    assert {unit.reason.code for unit in units if unit.state == "lost" and unit.reason} == {"runner_died"}
    assert starts(trace) == Counter(range(40))
    assert not [pid for pid in _pids() if mark in _read(pid, "environ")]


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
