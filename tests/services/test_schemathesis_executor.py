"""The executor keeps what its OpenAPI document promises, whatever it is sent."""

from pathlib import Path

from tests.workshop.processes import run, serving
from tests.workshop.schemathesis import USERS_EXAMPLES, check_document, created, user_key

REGISTRY = "services.registry"
EXECUTOR = "services.executor"
POLLER = "services.poller"


def test_the_executor_does_what_its_document_says(database_url: str, embedded_redis_url: str, tmp_path: Path) -> None:
    common = {"STOKER_REDIS_URL": embedded_redis_url, "STOKER_RESOURCE_TYPES": "local"}
    own = common | {"STOKER_DATABASE_URL": f"sqlite:///{tmp_path}/registry.db"}
    assert run(REGISTRY, "migrate", environment=own).returncode == 0
    key = run(REGISTRY, "bootstrap", environment=own).stdout.strip()
    service_key = run(REGISTRY, "bootstrap", "--service", environment=own).stdout.strip()
    assert run(EXECUTOR, "migrate", environment={"STOKER_DATABASE_URL": database_url}).returncode == 0
    with serving(REGISTRY, own) as registry:
        spec = {
            "type": "local",
            "name": "here",
            "jobs_local_dir": f"{tmp_path}/jobs",
            "tasks_local_dir": f"{tmp_path}/tasks",
            "tasks_python_config": {"default_version": "3", "versions": {"3": "/usr/bin/python3"}},
            "jobs_runner_config": {},
        }
        resource = created(f"{registry.url}/v1/resources", key, spec)
        profile = created(
            f"{registry.url}/v1/resources/{resource['id']}/profiles", key, {"name": "me", "resource_type": "local"}
        )
        environment = common | {
            "STOKER_DATABASE_URL": database_url,
            "STOKER_REGISTRY_URL": registry.url,
            "STOKER_SERVICE_KEY": service_key,
        }
        with (
            serving(EXECUTOR, environment) as executor,
            # Jobs have to end, or following their logs does not.
            serving(POLLER, environment | {"STOKER_EXECUTOR_URL": executor.url}),
        ):
            submit = {"profile_id": profile["id"], "command": ["true"], "units": [{}, {}]}
            users = user_key(registry.url, key, profile["id"])
            for who, examples in ((key, 12), (users, USERS_EXAMPLES)):
                created(f"{executor.url}/v1/jobs", who, submit)
                # It would wait for the end of an answer that has none.
                check_document(
                    executor.url, who, tmp_path, max_examples=examples, exclude_operations=["V1EventsFollow"]
                )
            assert [event for event in executor.events() if event["level"] == "error"] == []
