"""The whole stack: what it costs while a job sleeps, and how soon a client knows of a unit's end.

Prints the share of one core that the three services (with their agents) use, and the delay from a unit's end to the
client's event; the share is also given as a ratio to what one idle `sleep` loop of a shell uses in the same run.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from statistics import median

from stoker.contracts.jobs import FINAL_JOB_STATES, Job, JobSubmit
from tests.stack.jobs import local_profile
from tests.stack.running import ProcessName, RunningStack

IDLE_SECONDS = 20.0
JOBS = 10
SERVICES: tuple[ProcessName, ...] = ("registry", "executor", "poller")


def cpu_seconds(pids: set[int]) -> float:
    """CPU time of these processes and all their living descendants."""
    parents, times = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            times[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    chosen = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in chosen} - chosen:
        chosen |= more
    return sum(times.get(pid, 0.0) for pid in chosen)


async def submit(stack: RunningStack, command: list[str]) -> Job:
    """Submit one unit."""
    wanted = JobSubmit(profile_id=await local_profile(stack), command=command, units=[{}])
    async with stack.executor() as executor:
        return await executor.submit(wanted)


async def idle_share(stack: RunningStack) -> float:
    """Share of one core while a job sleeps."""
    job = await submit(stack, ["sleep", "600"])
    async with stack.executor() as executor:
        async with aclosing(executor.events(job_id=job.id)) as events:
            async for event in events:
                if event.state == "running":
                    break
        await asyncio.sleep(3)
        pids = {stack.pid(name) for name in SERVICES}
        before, begun = cpu_seconds(pids), time.monotonic()
        await asyncio.sleep(IDLE_SECONDS)
        share = (cpu_seconds(pids) - before) / (time.monotonic() - begun)
        await executor.cancel(job.id)
    return share


async def delays(stack: RunningStack) -> list[float]:
    """Seconds from a unit's end, by its own record, to the arrival of the job's final event."""
    measured = []
    for _ in range(JOBS):
        async with stack.executor() as executor, aclosing(executor.events()) as events:
            job = await submit(stack, ["sleep", "1"])
            async for event in events:
                if event.job_id == job.id and event.state in FINAL_JOB_STATES:
                    arrived = time.time()
                    break
            unit = await executor.unit(job.id, 0)
        assert unit.ended_at is not None
        measured.append(arrived - unit.ended_at.timestamp())
    return measured


def shell_share() -> float:
    """Share of one core of a shell that looks at a file ten times a second: the yardstick."""
    loop = "i=0; while [ $i -lt 50 ]; do [ -e /nonexistent ]; sleep 0.1; i=$((i+1)); done; times"
    out = subprocess.run(["/bin/sh", "-c", loop], capture_output=True, text=True, check=True).stdout
    seconds = [60 * int(word.split("m")[0]) + float(word.split("m")[1].rstrip("s")) for word in out.split()]
    return sum(seconds) / 5


def main() -> None:
    """Measure and write the figures."""
    with tempfile.TemporaryDirectory() as folder:
        stack = RunningStack(Path(folder) / "state")
        stack.start()
        try:
            share = asyncio.run(idle_share(stack))
            found = asyncio.run(delays(stack))
        finally:
            stack.stop()
    yardstick = shell_share()
    figures = {
        "idle_share_of_a_core": round(share, 4),
        "idle_ratio_to_a_polling_shell": round(share / max(yardstick, 1e-4), 2),
        "end_to_event_seconds_median": round(median(found), 3),
        "end_to_event_seconds_worst": round(max(found), 3),
    }
    for name, value in figures.items():
        print(f"{name:32} {value}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "stack.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
