"""The registry keeps what its OpenAPI document promises, whatever it is sent."""

from pathlib import Path

from tests.workshop.processes import run, serving
from tests.workshop.schemathesis import USERS_EXAMPLES, check_document, user_key

REGISTRY = "services.registry"
# Files of today's users are taken as they are: with null, and numbers as text, where the document has neither.
CONFIGURATIONS = [
    "POST /v1/resources",
    "PUT /v1/resources/{resource_id}",
    "POST /v1/resources/{resource_id}/profiles",
    "PUT /v1/profiles/{profile_id}",
]


def test_the_registry_does_what_its_document_says(database_url: str, tmp_path: Path) -> None:
    environment = {"STOKER_DATABASE_URL": database_url}
    assert run(REGISTRY, "migrate", environment=environment).returncode == 0
    key = run(REGISTRY, "bootstrap", environment=environment).stdout.strip()
    with serving(REGISTRY, environment) as registry:
        users = user_key(registry.url, key)
        for who, examples in ((key, 15), (users, USERS_EXAMPLES)):
            # It would revoke the key that it works with.
            check_document(
                registry.url,
                who,
                tmp_path,
                max_examples=examples,
                exclude_operations=["V1AccessKeysKeyIdRemove"],
                lenient_operations=CONFIGURATIONS,
            )
        assert [event for event in registry.events() if event["level"] == "error"] == []
