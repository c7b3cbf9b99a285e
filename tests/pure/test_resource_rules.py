"""What configurations may say, beyond their types."""

import copy
from typing import Any

import msgspec
import pytest

from services.registry.rules import PROFILE_RULES, RESOURCE_RULES
from services.registry.rules.profiles import normal_form as normal_profile
from services.registry.rules.resources import normal_form
from shared.service.web.bodies.decoding import convert_body
from stoker.contracts.profiles import ProfileSpec
from stoker.contracts.resources import ResourceSpec
from stoker.errors import Invalid
from tests.workshop.registry import KINDS, seed

PIXI = {
    "default_version": "0.41.0",
    "versions": {"0.41.0": "/opt/pixi/0.41.0", "0.42.0": "/opt/pixi/0.42.0"},
    "PIXI_CONCURRENT_SOLVES": 4,
    "DEFAULT_PLATFORM": "linux-64",
    "SLURM_CONFIG": {"partition": "main", "cpus": 2, "mem": "8G", "time": "01:00:00", "preamble": ["module load x"]},
}


def changed(name: str, path: str, value: Any) -> dict[str, Any]:
    """A seed with one place changed (`...` removes it)."""
    spec = copy.deepcopy(seed(name))
    target: Any = spec
    *parents, last = path.split("/")
    for step in parents:
        target = target.setdefault(step, {})
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return spec


def wrong(spec: dict[str, Any], kind: Any = ResourceSpec) -> dict[str, str]:
    try:
        convert_body(spec, kind, {**RESOURCE_RULES, **PROFILE_RULES})
    except Invalid as error:
        return {field.path: field.message for field in error.errors}
    return {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_configurations_that_users_have_are_kept_exactly(kind: str) -> None:
    resource, profile = seed(f"resource_{kind}"), seed(f"profile_{kind}")
    assert msgspec.to_builtins(normal_form(convert_body(resource, ResourceSpec, RESOURCE_RULES))) == resource
    assert msgspec.to_builtins(normal_profile(convert_body(profile, ProfileSpec, PROFILE_RULES))) == profile


CONFIG = "jobs_runner_config/default_slurm_config"
BATCHING = "jobs_runner_config/batching_config"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "  a name with spaces around  "),
        ("host", "login.example.org:2222"),
        ("host", "10.0.0.1"),
        ("host", "[fe80::1]:22"),
        ("port", 2222),
        ("ssh_known_hosts", "/etc/stoker//known_hosts"),
        ("jobs_local_dir", "/data//jobs/./x/"),
        ("jobs_local_dir", "/with space/$(id)/'quote'"),
        ("jobs_poll_interval", 0),
        (f"{CONFIG}/mem", "2T"),
        (f"{CONFIG}/mem", 93),
        (f"{CONFIG}/mem", 0),
        (f"{CONFIG}/mem", "0"),
        ("slurm_conf", "/opt/slurm/b/etc/slurm.conf"),
        ("slurm_commands_dir", "/opt/slurm/b/bin"),
        (f"{CONFIG}/time", "2-12:00:00"),
        (f"{CONFIG}/time", "90"),
        (f"{CONFIG}/extra_lines", ["#SBATCH --qos=high", "module load x\t# tab", "export A=b"]),
        (f"{CONFIG}/shebang_line", "#!/bin/bash -l"),
        ("jobs_runner_config/gpu_slurm_config", None),
        (f"{BATCHING}/max_mem_per_job", "1T"),
        ("tasks_pixi_config", PIXI),
        ("tasks_pip_cache_dir", "/cache"),
        ("tasks_pixi_config", ...),
        ("jobs_poll_interval", ...),
    ],
)
def test_valid_forms_are_accepted(path: str, value: Any) -> None:
    assert wrong(changed("resource_slurm_ssh", path, value)) == {}


@pytest.mark.parametrize(
    ("path", "value", "place", "form"),
    [
        ("name", " ", "name", "must not be empty"),
        ("name", "a\nb", "name", "one line"),
        ("jobs_local_dir", "relative/path", "jobs_local_dir", "absolute path"),
        ("jobs_local_dir", "/a/../b", "jobs_local_dir", 'without ".."'),
        ("tasks_local_dir", "/a/..", "tasks_local_dir", 'without ".."'),
        ("tasks_local_dir", "/a\x00b", "tasks_local_dir", "one line"),
        ("jobs_slurm_python_worker", "python3", "jobs_slurm_python_worker", "absolute path"),
        ("jobs_poll_interval", -3, "jobs_poll_interval", "at least 0"),
        ("host", "ho st", "host", "name:port"),
        ("host", "-oProxyCommand=x", "host", "name:port"),
        ("host", "name:0", "host", "name:port"),
        ("host", "name:99999", "host", "name:port"),
        ("host", "a:b:c", "host", "name:port"),
        ("port", 70000, "port", "at most 65535"),
        ("ssh_known_hosts", "known_hosts", "ssh_known_hosts", "absolute path"),
        ("slurm_conf", "slurm.conf", "slurm_conf", "absolute path"),
        ("slurm_commands_dir", "/opt/../bin", "slurm_commands_dir", 'without ".."'),
        ("ssh_known_hosts", "/etc/../known_hosts", "ssh_known_hosts", 'without ".."'),
        ("tasks_python_config/default_version", "3.9", "tasks_python_config.default_version", "3.11, 3.12"),
        ("tasks_python_config/versions/3.9", "python", 'tasks_python_config.versions["3.9"]', "absolute path"),
        ("tasks_python_config/versions/3.9", "/a/../b", 'tasks_python_config.versions["3.9"]', 'without ".."'),
        (f"{CONFIG}/mem", "1g", "jobs_runner_config.default_slurm_config.mem", "3G"),
        (f"{CONFIG}/mem", "1.5G", "jobs_runner_config.default_slurm_config.mem", "3G"),
        (f"{CONFIG}/mem", 1.5, "jobs_runner_config.default_slurm_config.mem", "3G"),
        (f"{CONFIG}/time", "soon", "jobs_runner_config.default_slurm_config.time", "days-hours"),
        (f"{CONFIG}/cpus_per_task", 0, "jobs_runner_config.default_slurm_config.cpus_per_task", "at least 1"),
        (f"{CONFIG}/partition", "a\n#SBATCH -o x", "jobs_runner_config.default_slurm_config.partition", "one line"),
        (f"{CONFIG}/account", " ", "jobs_runner_config.default_slurm_config.account", "leave the key out"),
        (f"{CONFIG}/shebang_line", "bash", "jobs_runner_config.default_slurm_config.shebang_line", "#!/bin/sh"),
        (f"{CONFIG}/memory", "1G", "jobs_runner_config.default_slurm_config.memory", "unknown field"),
        (
            f"{CONFIG}/extra_lines",
            ["#SBATCH --output=x"],
            "jobs_runner_config.default_slurm_config.extra_lines[0]",
            "Stoker sets --output itself",
        ),
        (
            f"{CONFIG}/extra_lines",
            ["#SBATCH -p other"],
            "jobs_runner_config.default_slurm_config.extra_lines[0]",
            "also given by the field partition",
        ),
        (f"{CONFIG}/extra_lines", ["a\nb"], "jobs_runner_config.default_slurm_config.extra_lines[0]", "one line"),
        (f"{CONFIG}/extra_lines", ["a", "a"], "jobs_runner_config.default_slurm_config.extra_lines[1]", "twice"),
        (f"{CONFIG}/extra_lines", ["#PBS -l x"], "jobs_runner_config.default_slurm_config.extra_lines[0]", "#SBATCH"),
        (f"{BATCHING}/target_cpus_per_job", 2, "jobs_runner_config.batching_config.target_cpus_per_job", "at most"),
        (f"{BATCHING}/target_mem_per_job", "1G", "jobs_runner_config.batching_config.target_mem_per_job", "at most"),
        (f"{BATCHING}/target_num_jobs", 5, "jobs_runner_config.batching_config.target_num_jobs", "max_num_jobs (4)"),
        (f"{BATCHING}/max_num_jobs", ..., "jobs_runner_config.batching_config.max_num_jobs", "is required"),
        (
            "jobs_runner_config/user_local_exports/9X",
            "a",
            'jobs_runner_config.user_local_exports["9X"]',
            "variable name",
        ),
        ("jobs_runner_config/user_local_exports/X", "/a", "jobs_runner_config.user_local_exports.X", "relative path"),
        (
            "jobs_runner_config/user_local_exports/X",
            "a/../../b",
            "jobs_runner_config.user_local_exports.X",
            "relative",
        ),
        (
            "jobs_runner_config/user_local_exports/LD_PRELOAD",
            "a",
            "jobs_runner_config.user_local_exports.LD_PRELOAD",
            "belongs",
        ),
        ("tasks_pixi_config", PIXI | {"versions": []}, "tasks_pixi_config.versions", "an object"),
        ("tasks_pixi_config", PIXI | {"FOO": 1}, "tasks_pixi_config.FOO", "unknown field"),
        ("tasks_pixi_config", PIXI | {"default_version": "9"}, "tasks_pixi_config.default_version", "0.41.0"),
        (
            "tasks_pixi_config",
            PIXI | {"TOKIO_WORKER_THREADS": 0},
            "tasks_pixi_config.TOKIO_WORKER_THREADS",
            "at least 1",
        ),
        (
            "tasks_pixi_config",
            PIXI | {"versions": {"0.41.0": "/opt/pixi/latest"}},
            'tasks_pixi_config.versions["0.41.0"]',
            "/opt/pixi/0.41.0",
        ),
        (
            "tasks_pixi_config",
            PIXI | {"versions": {"0.41.0": "/a/0.41.0", "1": "/b/1"}},
            "tasks_pixi_config.versions",
            "same parent",
        ),
        (
            "tasks_pixi_config",
            {key: value for key, value in PIXI.items() if key != "SLURM_CONFIG"},
            "tasks_pixi_config.SLURM_CONFIG",
            "required on an SSH resource",
        ),
        (
            "tasks_pixi_config",
            PIXI | {"SLURM_CONFIG": PIXI["SLURM_CONFIG"] | {"mem_per_cpu": "1G"}},  # type: ignore[operator]
            "tasks_pixi_config.SLURM_CONFIG.mem",
            "only one",
        ),
        (
            "tasks_pixi_config",
            PIXI | {"SLURM_CONFIG": PIXI["SLURM_CONFIG"] | {"mem": "8"}},  # type: ignore[operator]
            "tasks_pixi_config.SLURM_CONFIG.mem",
            "8G",
        ),
        (
            "tasks_pixi_config",
            PIXI | {"SLURM_CONFIG": PIXI["SLURM_CONFIG"] | {"preamble": ["x", "#SBATCH --output=/a"]}},  # type: ignore[operator]
            "tasks_pixi_config.SLURM_CONFIG.preamble[1]",
            "Stoker sets --output itself",
        ),
        (
            "tasks_python_config/SLURM_CONFIG",
            {"partition": "main", "cpus": 2, "time": "5"},
            "tasks_python_config.SLURM_CONFIG.mem",
            "mem_per_cpu",
        ),
    ],
)
def test_invalid_forms_are_named_with_the_valid_one(path: str, value: Any, place: str, form: str) -> None:
    found = wrong(changed("resource_slurm_ssh", path, value))
    assert list(found) == [place]
    assert form in found[place]


def test_pixi_needs_no_slurm_job_where_there_is_none() -> None:
    without = {key: value for key, value in PIXI.items() if key != "SLURM_CONFIG"}
    assert wrong(changed("resource_local", "tasks_pixi_config", without)) == {}


def test_the_older_pip_cache_spelling_must_agree_with_the_newer() -> None:
    spec = changed("resource_local", "tasks_pip_cache_dir", "/a")
    spec["tasks_python_config"]["pip_cache_dir"] = "/b"
    assert list(wrong(spec)) == ["tasks_pip_cache_dir"]


@pytest.mark.parametrize(
    ("name", "path", "value", "place"),
    [
        ("profile_slurm_sudo", "username", "root", "username"),
        ("profile_slurm_sudo", "username", "-u", "username"),
        ("profile_slurm_sudo", "username", "a b", "username"),
        ("profile_slurm_sudo", "username", ..., "username"),
        ("profile_slurm_sudo", "jobs_remote_dir", "x", "jobs_remote_dir"),
        ("profile_slurm_sudo", "ssh_key_path", "/x", "ssh_key_path"),
        ("profile_local", "username", "me", "username"),
        ("profile_local", "name", "\t ", "name"),
        ("profile_slurm_ssh", "ssh_key_path", "~/.ssh/id", "ssh_key_path"),
        ("profile_slurm_ssh", "jobs_remote_dir", "/a/../b", "jobs_remote_dir"),
        ("profile_slurm_ssh", "tasks_remote_dir", ..., "tasks_remote_dir"),
        ("profile_slurm_ssh", "resource_type", "ssh", "resource_type"),
    ],
)
def test_profiles_hold_what_their_kind_needs(name: str, path: str, value: Any, place: str) -> None:
    assert list(wrong(changed(name, path, value), ProfileSpec)) == [place]


def test_names_are_stripped_and_paths_normalised() -> None:
    spec = changed("resource_local", "jobs_local_dir", "//data//jobs/./x/") | {"name": " Lab "}
    spec["tasks_python_config"]["versions"]["3.12"] = "/venv//bin/python"
    stored = normal_form(convert_body(spec, ResourceSpec, RESOURCE_RULES))
    assert (stored.name, stored.jobs_local_dir) == ("Lab", "/data/jobs/x")
    assert stored.tasks_python_config.versions == {"3.12": "/venv/bin/python"}
