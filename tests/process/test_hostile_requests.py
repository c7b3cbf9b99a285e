"""What strangers, and users, may send: an executor that is sent it answers others meanwhile, and stays small."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.redis import RedisServer
from tests.workshop.processes import ServedProcess, run, serving
from tests.workshop.schemathesis import user_key

MEGABYTE = 1024 * 1024
LARGEST = 400 * MEGABYTE
# Of an answer to somebody else; before there were limits it was 17 to 38 s on a machine that did nothing else.
LONGEST_SECONDS = 15
START = b'{"profile_id": "x", "command": ["true"], "units": ['


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, shared_redis: RedisServer
) -> Iterator[tuple[ServedProcess, httpx.Client]]:
    """An executor, and a client of it with a user's key."""
    folder = tmp_path_factory.mktemp("hostile")
    shared_redis.process.start()
    registries = {"STOKER_DATABASE_URL": f"sqlite:///{folder}/registry.db"}
    executors = {"STOKER_DATABASE_URL": f"sqlite:///{folder}/executor.db"}
    assert run("services.registry", "migrate", environment=registries).returncode == 0
    assert run("services.executor", "migrate", environment=executors).returncode == 0
    admin = run("services.registry", "bootstrap", environment=registries).stdout.strip()
    service = run("services.registry", "bootstrap", "--service", environment=registries).stdout.strip()
    with serving("services.registry", registries) as registry:
        environment = executors | {
            "STOKER_REDIS_URL": shared_redis.url,
            "STOKER_REGISTRY_URL": registry.url,
            "STOKER_SERVICE_KEY": service,
        }
        headers = {"Authorization": f"Bearer {user_key(registry.url, admin)}"}
        with (
            serving("services.executor", environment) as executor,
            httpx.Client(base_url=executor.url, headers=headers, trust_env=False, timeout=300) as client,
        ):
            assert client.get("/v1/jobs").status_code == 200
            yield executor, client


@contextmanager
def others_are_answered(executor: ServedProcess) -> Iterator[None]:
    """Somebody else asks all the time, and is answered; the executor does not grow."""
    over = threading.Event()
    failures: list[Exception] = []
    answers: list[int] = []

    def ask() -> None:
        while not over.wait(0.01):
            try:
                answer = httpx.get(f"{executor.url}/health/live", trust_env=False, timeout=LONGEST_SECONDS)
                answers.append(answer.status_code)
            except httpx.HTTPError as error:
                failures.append(error)

    other = threading.Thread(target=ask)
    other.start()
    try:
        yield
    finally:
        over.set()
        other.join()
    assert failures == []
    assert set(answers) <= {200}
    status = Path(f"/proc/{executor.process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) * 1024 < LARGEST


def refused(client: httpx.Client, body: bytes) -> tuple[int, dict[str, Any]]:
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(answer.content) < 100_000
    return answer.status_code, answer.json()


def test_a_path_that_looks_like_many_passwords(place: tuple[ServedProcess, httpx.Client]) -> None:
    executor, _ = place
    with others_are_answered(executor):
        for _ in range(5):
            answer = httpx.get(f"{executor.url}/{'://a:' * 12_000}", trust_env=False, timeout=60)
            assert answer.status_code == 401


def test_four_hundred_megabytes_of_headers(place: tuple[ServedProcess, httpx.Client]) -> None:
    executor, _ = place
    host, port = executor.url.removeprefix("http://").split(":")
    with others_are_answered(executor), socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        # It is read from for a moment, so that the refusal arrives.
        with suppress(ConnectionError):
            for _ in range(400):
                line.sendall(b"X-More: " + b"x" * MEGABYTE)


def test_eleven_hundred_half_sent_requests(place: tuple[ServedProcess, httpx.Client]) -> None:
    executor, _ = place
    host, port = executor.url.removeprefix("http://").split(":")
    lines = []
    try:
        with others_are_answered(executor):
            for _ in range(1100):
                line = socket.create_connection((host, int(port)), timeout=60)
                lines.append(line)
                line.sendall(b"GET / HTTP/1.1\r\nHost:")
    finally:
        for line in lines:
            line.close()


BODIES = {
    "unknown fields": lambda: b'{"profile_id": "x",' + b",".join(b'"n%d": 1' % n for n in range(400_000)) + b"}",
    "units that are none": lambda: START + b",".join([b"1"] * (10 * MEGABYTE)) + b"]}",
    "fewer units that are none": lambda: START + b",".join([b"1"] * 2 * MEGABYTE) + b"]}",
    "too many units": lambda: START + b",".join([b"{}"] * 2 * MEGABYTE) + b"]}",
    "one long name": lambda: b'{"' + b"n" * (50 * MEGABYTE) + b'": 1}',
    "one deep value": lambda: START + b"[" * (40 * MEGABYTE),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of(name: str, place: tuple[ServedProcess, httpx.Client]) -> None:
    executor, client = place
    with others_are_answered(executor):
        status, problem = refused(client, BODIES[name]())
        assert status in {400, 422}, problem
        assert problem.get("errors") or problem["detail"]
