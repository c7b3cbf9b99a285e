"""The registry as a process: start, refusals, logs, stop."""

import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.workshop.processes import ServedProcess, run, serving
from tests.workshop.registry import seed

REGISTRY = "services.registry"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"STOKER_DATABASE_URL": f"sqlite:///{tmp_path / 'registry.db'}"}


@pytest.fixture
def key(environment: dict[str, str]) -> str:
    """A first key in a database that was brought up."""
    migrated = run(REGISTRY, "migrate", environment=environment)
    assert migrated.returncode == 0, migrated.stderr
    assert migrated.stdout == ""
    made = run(REGISTRY, "bootstrap", environment=environment)
    assert re.fullmatch(r"stk_[0-9a-z]{26}_[A-Za-z0-9_-]{43}\n", made.stdout), made.stderr
    return made.stdout.strip()


def test_the_first_key_is_printed_once(environment: dict[str, str], key: str) -> None:
    again = run(REGISTRY, "bootstrap", environment=environment)
    assert (again.returncode, again.stdout) == (1, "")
    assert "admin key already" in again.stderr
    service = run(REGISTRY, "bootstrap", "--service", environment=environment)
    assert service.returncode == 0
    assert service.stdout.strip() != key


@pytest.mark.parametrize("command", ["serve", "bootstrap"])
def test_a_schema_that_is_not_there_is_refused_with_the_command_that_mends_it(
    environment: dict[str, str], command: str
) -> None:
    done = run(REGISTRY, command, environment=environment)
    assert done.returncode == 1
    assert "python -m services.registry migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_name_themselves_all_at_once_without_their_secrets() -> None:
    wrong = {"STOKER_DATABASE_URL": "mysql://me:hidden@host/x", "STOKER_LISTEN_PORT": "eighty"}
    done = run(REGISTRY, "serve", environment=wrong | {"STOKER_RESOURCE_TYPES": "local,cloud"})
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()[1:]] == [
        "STOKER_LISTEN_PORT",
        "STOKER_RESOURCE_TYPES",
        "STOKER_DATABASE_URL",
    ]
    assert "hidden" not in done.stderr
    assert "STOKER_DATABASE_URL is not set" in run(REGISTRY, "serve", environment={}).stderr


def test_a_port_that_is_taken_is_told_in_one_line(environment: dict[str, str], key: str) -> None:
    del key
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = ServedProcess(REGISTRY, environment | {"STOKER_LISTEN_PORT": str(port)})
        assert served.process.wait(30) == 1
        served.stop()
    assert [event["event"] for event in served.events()] == ["cannot listen"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_soon_and_well_when_told_to(environment: dict[str, str], key: str, number: signal.Signals) -> None:
    with serving(REGISTRY, environment) as registry, httpx.Client(base_url=registry.url, trust_env=False) as client:
        # A connection that stays open, and one that never says anything.
        assert client.get("/health/ready").json()["checks"] == {"database": "ok"}
        with socket.create_connection(("127.0.0.1", int(registry.url.rpartition(":")[2]))):
            assert registry.stop(number) == 0
    assert [event["event"] for event in registry.events()][-2:] == ["stopping", "stopped"]
    assert key not in registry.log


def test_logs_are_json_lines_with_the_callers_request_id_and_no_secret(environment: dict[str, str], key: str) -> None:
    with serving(REGISTRY, environment | {"STOKER_LOG_LEVEL": "debug"}) as registry:
        headers = {"Authorization": f"Bearer {key}", "X-Request-ID": "from-the-platform.1"}
        with httpx.Client(base_url=registry.url, headers=headers, trust_env=False) as client:
            created = client.post("/v1/resources", json=seed("resource_local"))
            assert (created.status_code, created.headers["X-Request-ID"]) == (201, "from-the-platform.1")
            new = client.post("/v1/access-keys", json={"name": "other"}).json()
            assert client.get("/v1/resources", headers={"Authorization": f"Bearer {new['key']}"}).status_code == 200
            assert client.get(f"/v1/resources/{new['key']}").status_code == 404
            assert client.get("/v1/resources", headers={"X-Request-ID": "bad id"}).headers["X-Request-ID"] != "bad id"
            assert client.get("/v1/resources", auth=("x", key)).status_code == 200
    requests = [event for event in registry.events() if event["event"] == "request"]
    first = next(event for event in requests if event["method"] == "POST")
    assert list(first)[:5] == ["ts", "level", "service", "request_id", "event"]
    assert {name: first[name] for name in ("service", "request_id", "method", "route", "status")} == {
        "service": "registry",
        "request_id": "from-the-platform.1",
        "method": "POST",
        "route": "/v1/resources",
        "status": 201,
    }
    assert first["ms"] > 0
    assert re.fullmatch("[0-9a-z]{26}", first["key_id"])
    for secret in (key, new["key"]):
        assert secret not in registry.log
        assert secret.split("_", 2)[2] not in registry.log
