"""Configurations in every shape in which files of today's users hold them."""

import copy
from typing import Any

import pytest

from services.registry.controllers.answers import PROFILE_FORM, RESOURCE_FORM, Form
from stoker.errors import Invalid
from tests.workshop.registry import KINDS, seed, to_json

SLURM_KEYS = (
    "partition",
    "cpus_per_task",
    "mem",
    "constraint",
    "gres",
    "exclude",
    "nodelist",
    "time",
    "account",
    "gpus",
)
OF_ALL_RESOURCES = ("host", "jobs_slurm_python_worker", "tasks_pip_cache_dir")
OF_ALL_PROFILES = ("username", "ssh_key_path", "jobs_remote_dir", "tasks_remote_dir", "pixi_cache_dir")
PIXI = {"versions": {"0.54.1": "/opt/pixi/0.54.1"}, "default_version": "0.54.1"}
PIXI_JOB = {"partition": "main", "cpus": 2, "mem": "4G", "time": "20"}


def read(form: Form, value: Any) -> tuple[dict[str, Any], list[str]]:
    """The spec as it is stored, without nulls that have a place in the contract, and what was said about it."""
    before = copy.deepcopy(value)
    spec, warnings = form.spec(value)
    assert value == before, "what was sent is not changed in place"
    return without_null(to_json(spec)), warnings


def without_null(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: without_null(item) for name, item in value.items() if item is not None}


def wrong(form: Form, value: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        form.spec(value)
    return {error.path: error.message for error in refused.value.errors}


def dumped(kind: str) -> dict[str, Any]:
    """A resource as a database's export writes it: each optional key, null where nobody set it."""
    spec = dict.fromkeys(OF_ALL_RESOURCES) | seed(f"resource_{kind}")
    spec["tasks_pixi_config"] = PIXI | {"SLURM_CONFIG": None if kind == "local" else PIXI_JOB | {"mem_per_cpu": None}}
    spec["tasks_python_config"]["pip_cache_dir"] = None
    runner = spec["jobs_runner_config"]
    for part in ("default_slurm_config", "gpu_slurm_config"):
        if part in runner:
            runner[part] = dict.fromkeys(SLURM_KEYS) | {"extra_lines": []} | runner[part]
    return spec


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_not_written_at_every_level_of_a_resource(kind: str) -> None:
    plain = without_null(seed(f"resource_{kind}"))
    spec, warnings = read(RESOURCE_FORM, dumped(kind))
    assert warnings == []
    pixi = spec.pop("tasks_pixi_config")
    assert pixi == (PIXI if kind == "local" else PIXI | {"SLURM_CONFIG": PIXI_JOB})
    if kind != "local":
        assert spec["jobs_runner_config"]["default_slurm_config"].pop("extra_lines") == []
    plain.pop("tasks_pixi_config")
    assert spec == plain


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        {"tasks_pixi_config": None},
        {"jobs_poll_interval": None, "prevent_new_submissions": None},
        {"port": None, "ssh_known_hosts": None, "tasks_user": None},
    ],
)
def test_null_is_not_written_for_fields_that_dumps_do_not_have(kind: str, changes: dict[str, Any]) -> None:
    spec, warnings = read(RESOURCE_FORM, seed(f"resource_{kind}") | changes)
    assert warnings == []
    assert not set(changes) & set(spec)


@pytest.mark.parametrize("part", ["gpu_slurm_config", "user_local_exports"])
@pytest.mark.parametrize("value", [None, {}])
def test_parts_of_a_runner_configuration_may_be_null_or_empty(part: str, value: Any) -> None:
    resource = seed("resource_slurm_sudo")
    resource["jobs_runner_config"][part] = value
    spec, warnings = read(RESOURCE_FORM, resource)
    assert warnings == []
    assert not spec["jobs_runner_config"].get(part)


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_not_written_in_a_profile(kind: str) -> None:
    spec, warnings = read(PROFILE_FORM, dict.fromkeys(OF_ALL_PROFILES) | seed(f"profile_{kind}"))
    assert (spec, warnings) == (seed(f"profile_{kind}"), [])


def test_what_a_kind_requires_is_required_where_null_stands() -> None:
    assert "is required" in wrong(RESOURCE_FORM, seed("resource_slurm_ssh") | {"host": None})["host"]
    assert "is required" in wrong(PROFILE_FORM, seed("profile_slurm_ssh") | {"ssh_key_path": None})["ssh_key_path"]
    pixi = PIXI | {"SLURM_CONFIG": None}
    found = wrong(RESOURCE_FORM, seed("resource_slurm_ssh") | {"tasks_pixi_config": pixi})
    assert "is required on an SSH resource" in found["tasks_pixi_config.SLURM_CONFIG"]


def test_what_an_export_adds_is_ignored_and_said() -> None:
    exported = seed("resource_local") | {"id": 3, "timestamp_created": "2025-10-01T08:00:00+00:00"}
    spec, warnings = read(RESOURCE_FORM, exported)
    assert spec == without_null(seed("resource_local"))
    assert [warning.partition(" ")[0] for warning in warnings] == ["id", "timestamp_created"]
    assert all("was ignored" in warning for warning in warnings)
    spec, warnings = read(PROFILE_FORM, {"id": 1, "resource_id": 3} | seed("profile_slurm_sudo"))
    assert spec == seed("profile_slurm_sudo")
    assert [warning.partition(" ")[0] for warning in warnings] == ["id", "resource_id"]


@pytest.mark.parametrize("value", [None, "x", 0, {}])
def test_an_unknown_field_stays_an_error(value: Any) -> None:
    assert "unknown field" in wrong(RESOURCE_FORM, seed("resource_local") | {"colour": value})["colour"]
    assert "unknown field" in wrong(PROFILE_FORM, seed("profile_local") | {"colour": value})["colour"]
    resource = seed("resource_slurm_ssh")
    resource["jobs_runner_config"]["default_slurm_config"]["id"] = value
    assert "unknown field" in wrong(RESOURCE_FORM, resource)["jobs_runner_config.default_slurm_config.id"]


def test_a_field_of_another_kind_that_is_written_stays_an_error() -> None:
    assert list(wrong(RESOURCE_FORM, seed("resource_local") | {"host": "login.example.org"})) == ["host"]


def test_numbers_and_flags_as_text_are_taken_as_what_they_mean_and_said() -> None:
    resource = seed("resource_slurm_ssh") | {"jobs_poll_interval": "10", "prevent_new_submissions": "false"}
    resource["jobs_runner_config"]["default_slurm_config"] |= {"cpus_per_task": "1", "use_mem_per_cpu": "no"}
    resource["jobs_runner_config"]["batching_config"] |= {"max_num_jobs": 4.0, "max_mem_per_job": 500.0}
    resource["tasks_pixi_config"] = PIXI | {"TOKIO_WORKER_THREADS": "2", "SLURM_CONFIG": PIXI_JOB | {"cpus": "2"}}
    spec, warnings = read(RESOURCE_FORM, resource)
    runner = spec["jobs_runner_config"]
    assert (spec["jobs_poll_interval"], spec["prevent_new_submissions"]) == (10, False)
    assert runner["default_slurm_config"]["cpus_per_task"] == 1
    assert runner["default_slurm_config"]["use_mem_per_cpu"] is False
    assert (runner["batching_config"]["max_num_jobs"], runner["batching_config"]["max_mem_per_job"]) == (4, 500)
    assert spec["tasks_pixi_config"]["TOKIO_WORKER_THREADS"] == 2
    assert spec["tasks_pixi_config"]["SLURM_CONFIG"]["cpus"] == 2
    assert 'jobs_poll_interval: "10" was taken as 10' in warnings
    assert 'tasks_pixi_config.SLURM_CONFIG.cpus: "2" was taken as 2' in warnings
    assert len(warnings) == 8


def test_texts_may_have_spaces_around() -> None:
    resource = seed("resource_slurm_sudo")
    resource["jobs_runner_config"]["default_slurm_config"] |= {"partition": " main ", "extra_lines": ["#SBATCH -H\n"]}
    spec, _ = read(RESOURCE_FORM, resource)
    config = spec["jobs_runner_config"]["default_slurm_config"]
    assert (config["partition"], config["extra_lines"]) == ("main", ["#SBATCH -H"])


@pytest.mark.parametrize("value", ["four", "", "1.5", 1.5, [], {}, "9" * 40])
def test_what_is_no_number_stays_an_error(value: Any) -> None:
    assert (
        "whole number"
        in wrong(RESOURCE_FORM, seed("resource_local") | {"jobs_poll_interval": value})["jobs_poll_interval"]
    )


@pytest.mark.parametrize("value", [None, [], "text", 3, {"type": None}, {"type": []}, {"type": "cloud"}])
def test_what_is_no_configuration_at_all_is_refused(value: Any) -> None:
    with pytest.raises(Invalid):
        RESOURCE_FORM.spec(value)
