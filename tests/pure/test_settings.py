"""Settings come from the environment, and wrong ones name themselves."""

from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from services.registry.settings import RegistrySettings
from shared.service.settings import DatabaseUrl, HttpUrl, RedisUrl, ServiceSettings, load_settings, settings_table
from stoker.errors import Invalid
from stoker.secrets import Secret


class Example(ServiceSettings, frozen=True, kw_only=True):
    database_url: DatabaseUrl
    service_key: Annotated[Secret, Meta(description="the key of the services")]
    redis_url: RedisUrl | None = None
    registry_url: HttpUrl = HttpUrl("http://127.0.0.1:8701")
    ratio: float = 0.5


GOOD = {"STOKER_DATABASE_URL": "postgresql://me:hidden@host/x", "STOKER_SERVICE_KEY": " hidden \n"}


def wrong(environment: dict[str, str]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        load_settings(Example, GOOD | environment)
    assert "hidden" not in str(caught.value)
    return {error.path: error.message for error in caught.value.errors}


def test_values_are_read_and_defaults_kept() -> None:
    environment = {
        "STOKER_LISTEN_PORT": " 0 ",
        "STOKER_RATIO": "2",
        "STOKER_REGISTRY_URL": "https://registry/",
        "STOKER_REDIS_URL": "unix:///run/redis.sock",
        "STOKER_RESOURCE_TYPES": "local, slurm_ssh",
        "STOKER_LOG_LEVEL": "",
        "UNRELATED": "x",
    }
    settings = load_settings(Example, GOOD | environment)
    assert (settings.listen_port, settings.ratio, settings.registry_url) == (0, 2.0, "https://registry")
    assert settings.resource_types == {"local", "slurm_ssh"}
    assert settings.log_level == "info"
    assert settings.service_key.reveal() == "hidden"
    assert settings.redis_url == RedisUrl("unix:///run/redis.sock")


@pytest.mark.parametrize(
    ("variable", "value", "form"),
    [
        ("STOKER_LISTEN_PORT", "99999", "65535"),
        ("STOKER_LISTEN_PORT", "eighty", "eighty"),
        ("STOKER_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("STOKER_RESOURCE_TYPES", "local,cloud", "local, slurm_sudo, slurm_ssh"),
        ("STOKER_RESOURCE_TYPES", " , ", "local, slurm_sudo, slurm_ssh"),
        ("STOKER_REGISTRY_URL", "ftp://x", "http://"),
        ("STOKER_DATABASE_URL", "sqlite:///hidden.db", "sqlite:////absolute/path.db"),
        ("STOKER_REDIS_URL", "hidden:6379", "redis://host:port/0"),
        ("STOKER_SERVICE_KEY", "  ", "must not be empty"),
        ("STOKER_SERVICE_KEY_FILE", "/no/such/file", "No such file"),
    ],
)
def test_a_wrong_value_names_itself_and_the_valid_form(variable: str, value: str, form: str) -> None:
    environment = {variable: value} | ({"STOKER_SERVICE_KEY": ""} if variable.endswith("_FILE") else {})
    found = wrong(environment)
    assert list(found) == [variable.removesuffix("_FILE")]
    assert form in found[variable.removesuffix("_FILE")]


def test_all_wrong_and_missing_values_are_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        load_settings(Example, {"STOKER_RATIO": "much", "STOKER_LOG_FORMAT": "xml"})
    assert {error.path for error in caught.value.errors} == {
        "STOKER_RATIO",
        "STOKER_LOG_FORMAT",
        "STOKER_DATABASE_URL",
        "STOKER_SERVICE_KEY",
    }


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    environment = GOOD | {"STOKER_SERVICE_KEY": "", "STOKER_SERVICE_KEY_FILE": str(tmp_path / "key")}
    assert load_settings(Example, environment).service_key.reveal() == "from a file"


def test_the_older_name_of_the_kinds_is_understood_where_the_new_one_is_not_set() -> None:
    older = GOOD | {"FRACTAL_RUNNER_BACKEND": "slurm_sudo"}
    assert load_settings(Example, older).resource_types == {"slurm_sudo"}
    assert load_settings(Example, older | {"STOKER_RESOURCE_TYPES": "local"}).resource_types == {"local"}


def test_secrets_do_not_show() -> None:
    shown = repr(load_settings(Example, GOOD))
    assert "hidden" not in shown
    assert "database_url=***" in shown
    secret = Secret("hidden")
    assert "hidden" not in f"{secret} {secret!r} {[secret]}"
    assert (secret == Secret("hidden"), secret == "hidden", secret == Secret("other")) == (True, False, False)


def test_the_table_for_the_documentation_describes_every_variable() -> None:
    lines = settings_table(RegistrySettings).splitlines()
    assert len(lines) == 2 + len(RegistrySettings.__struct_fields__)
    for line in lines[2:]:
        variable, default, meaning = (cell.strip() for cell in line.strip("|").split("|"))
        assert variable.startswith("`STOKER_")
        assert default
        assert meaning
