"""The poller keeps what its OpenAPI document promises, whatever it is sent."""

from pathlib import Path

from tests.workshop.processes import run, serving
from tests.workshop.schemathesis import USERS_EXAMPLES, check_document, user_key

REGISTRY = "services.registry"
EXECUTOR = "services.executor"


def test_the_poller_does_what_its_document_says(database_url: str, embedded_redis_url: str, tmp_path: Path) -> None:
    own = {"STOKER_DATABASE_URL": database_url}
    assert run(REGISTRY, "migrate", environment=own).returncode == 0
    key = run(REGISTRY, "bootstrap", environment=own).stdout.strip()
    service_key = run(REGISTRY, "bootstrap", "--service", environment=own).stdout.strip()
    executors = {"STOKER_DATABASE_URL": f"sqlite:///{tmp_path}/executor.db"}
    assert run(EXECUTOR, "migrate", environment=executors).returncode == 0
    with serving(REGISTRY, own) as registry:
        environment = {
            "STOKER_REDIS_URL": embedded_redis_url,
            "STOKER_REGISTRY_URL": registry.url,
            "STOKER_SERVICE_KEY": service_key,
        }
        with (
            serving(EXECUTOR, environment | executors) as executor,
            serving("services.poller", environment | {"STOKER_EXECUTOR_URL": executor.url}) as poller,
        ):
            check_document(poller.url, key, tmp_path, max_examples=20)
            check_document(poller.url, user_key(registry.url, key), tmp_path, max_examples=USERS_EXAMPLES)
            assert [event for event in poller.events() if event["level"] == "error"] == []
