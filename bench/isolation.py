"""Whether others' trouble delays anybody: a one-unit local job alone, and while others hang, wait, attack and shout.

`python bench/isolation.py [--quick]` starts the services as processes of their own (SQLite, embedded Redis), prints a
table and writes bench/results/isolation.json. Every figure is compared with the job alone, in the same run. The aim:
at most twice as long. The last line is how many such jobs a second go from accept to end, submitted eight at a time.
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import psutil

from bench.service import Stack, over
from stoker.clients.executor import ExecutorClient
from stoker.clients.registry import RegistryClient
from stoker.contracts.jobs import JobSubmit

RESULTS = Path(__file__).parent / "results" / "isolation.json"
AIM_RATIO = 2.0
AIM_JOBS_PER_SECOND = 20.0
HANGING_PROFILES = 10
WAITING_JOBS = 1000
HOSTILE = (
    'cd ../batches/00000; for name in alive.zz claim.zz slurm.out runner.log; do mkfifo "$name"; done;'
    " truncate -s 3G results.jsonl; yes nonsense | head -c 1000000 >> events.jsonl; sleep 1000"
)


class Bench:
    """One stack with a local profile that is measured, and one resource that never answers."""

    def __init__(self, stack: Stack, registry: RegistryClient, client: ExecutorClient) -> None:
        self.stack = stack
        self.registry = registry
        self.client = client
        self.local = ""
        self.hanging: list[str] = []

    async def prepare(self, silent_port: int) -> None:
        """Make resources and profiles."""
        folder = self.stack.folder
        common = {
            "tasks_local_dir": f"{folder}/tasks",
            "tasks_python_config": {"default_version": "3", "versions": {"3": sys.executable}},
        }
        here = await self.registry.create_resource(
            {"type": "local", "name": "here", "jobs_local_dir": f"{folder}/jobs", "jobs_runner_config": {}, **common}
        )
        self.local = (await self.registry.create_profile(here.id, {"name": "me", "resource_type": "local"})).id
        silent = await self.registry.create_resource(
            {
                "type": "slurm_ssh",
                "name": "silent",
                "host": "127.0.0.1",
                "port": silent_port,
                "jobs_local_dir": f"{folder}/ssh-jobs",
                "jobs_slurm_python_worker": "/usr/bin/python3",
                "jobs_runner_config": {
                    "default_slurm_config": {"partition": "main", "cpus_per_task": 1, "mem": "100M"},
                    "batching_config": {
                        "target_cpus_per_job": 1,
                        "max_cpus_per_job": 1,
                        "target_mem_per_job": 200,
                        "max_mem_per_job": 500,
                        "target_num_jobs": 2,
                        "max_num_jobs": 4,
                    },
                },
                **common,
            }
        )
        (folder / "key").write_text("no key at all")
        for number in range(HANGING_PROFILES):
            spec = {
                "name": f"hangs {number}",
                "resource_type": "slurm_ssh",
                "username": f"user{number}",
                "ssh_key_path": f"{folder}/key",
                "jobs_remote_dir": "/jobs",
                "tasks_remote_dir": "/tasks",
            }
            self.hanging.append((await self.registry.create_profile(silent.id, spec)).id)

    async def job_seconds(self, rounds: int) -> float:
        """From the submit call to the event of its end; the median of some jobs one after the other."""
        found = []
        for _ in range(rounds):
            began = time.perf_counter()
            job = await self.client.submit(JobSubmit(profile_id=self.local, command=["true"], units=[{}]))
            await over(self.client, job.id)
            found.append(time.perf_counter() - began)
        return statistics.median(found)

    async def jobs_per_second(self, count: int) -> float:
        """From accept to end, submitted eight at a time."""
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                job = await self.client.submit(JobSubmit(profile_id=self.local, command=["true"], units=[{}]))
                await over(self.client, job.id)

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(8)))
        return count / (time.perf_counter() - began)

    @contextlib.asynccontextmanager
    async def ten_profiles_hang(self) -> AsyncIterator[None]:
        """Each has a job on a host that accepts and says nothing."""
        jobs = [await self._submit(profile) for profile in self.hanging]
        await asyncio.sleep(1)
        yield
        await self._cancel(jobs)

    @contextlib.asynccontextmanager
    async def many_jobs_wait(self) -> AsyncIterator[None]:
        """All of one profile that is not reached."""
        jobs = [await self._submit(self.hanging[0]) for _ in range(WAITING_JOBS)]
        yield
        await self._cancel(jobs)

    @contextlib.asynccontextmanager
    async def hostile_jobs_run(self) -> AsyncIterator[None]:
        """Units that put pipes, holes and rubbish into their batches' folders."""
        jobs = [await self._submit(self.local, "sh", "-c", HOSTILE) for _ in range(10)]
        await asyncio.sleep(3)
        yield
        await self._cancel(jobs)

    @contextlib.asynccontextmanager
    async def hostile_bodies_arrive(self) -> AsyncIterator[None]:
        """One after the other, from one caller."""
        unknown = json.dumps({f"unknown{n}": n for n in range(200_000)}).encode()
        numbers = b'{"profile_id":"p","command":["true"],"units":[' + b",".join([b"1"] * 2_000_000) + b"]}"
        headers = {"Authorization": f"Bearer {self.stack.admin_key}", "Content-Type": "application/json"}

        async def shout() -> None:
            async with httpx.AsyncClient(base_url=self.stack.executor_url, headers=headers, timeout=120) as http:
                while True:
                    for body in (unknown, numbers):
                        with contextlib.suppress(httpx.HTTPError):
                            await http.post("/v1/jobs", content=body)

        shouting = asyncio.create_task(shout())
        await asyncio.sleep(1)
        yield
        shouting.cancel()
        await asyncio.gather(shouting, return_exceptions=True)

    async def _submit(self, profile_id: str, *command: str) -> str:
        submit = JobSubmit(profile_id=profile_id, command=[*command] or ["true"], units=[{}])
        return (await self.client.submit(submit)).id

    async def _cancel(self, jobs: list[str]) -> None:
        for job_id in jobs:
            await self.client.cancel(job_id)


async def measure(stack: Stack, *, quick: bool) -> dict[str, Any]:
    """All figures."""
    async with (
        RegistryClient(stack.registry_url, stack.admin_key) as registry,
        ExecutorClient(stack.executor_url, stack.admin_key) as client,
    ):
        silent = await asyncio.start_server(lambda *_: asyncio.sleep(3600), "127.0.0.1", 0)
        bench = Bench(stack, registry, client)
        await bench.prepare(silent.sockets[0].getsockname()[1])
        rounds = 5 if quick else 15
        await bench.job_seconds(3)
        throughput = await bench.jobs_per_second(40 if quick else 200)
        found: dict[str, Any] = {}
        for name, trouble in (
            ("ten profiles hang", bench.ten_profiles_hang),
            (f"{WAITING_JOBS} jobs wait", bench.many_jobs_wait),
            ("hostile jobs run", bench.hostile_jobs_run),
            ("hostile bodies arrive", bench.hostile_bodies_arrive),
        ):
            alone = await bench.job_seconds(rounds)
            async with trouble():
                seconds = await bench.job_seconds(rounds)
                memory = psutil.Process(stack.executor_pid).memory_info().rss
            found[name] = {"seconds": seconds, "alone_seconds": alone, "ratio": seconds / alone, "rss_bytes": memory}
            print(
                f"{name:<22} {seconds * 1000:7.0f} ms, alone {alone * 1000:5.0f} ms: {seconds / alone:5.2f} times"
                f"   (executor {memory / 2**20:.0f} MiB)"
            )
        print(f"one-unit jobs, eight at a time: {throughput:.1f} per second from accept to end")
        silent.close()
    return {
        "while": found,
        "jobs_per_second": throughput,
        "aims": {"ratio": AIM_RATIO, "jobs_per_second": AIM_JOBS_PER_SECOND},
        "cpus": os.cpu_count(),
    }


def main() -> None:
    """Start, measure, print, write down."""
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as processes:
        stack = Stack(Path(folder), processes, resource_types="local,slurm_ssh")
        found = asyncio.run(measure(stack, quick=quick))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
