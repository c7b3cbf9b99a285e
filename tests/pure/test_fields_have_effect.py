"""Each field of the two configurations, resource and profile, has an effect: in a plan, a script or a file."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.executor.building.builds import Site, creation
from services.executor.building.slurm_builds import slurm_build
from services.executor.environments.new_activities import BuildSettings, site_of
from services.executor.planning.plan import plan_job
from services.executor.running.batch_file import StagingLimits, batch_file
from shared.pipes import JOBS, roots_of
from shared.slurm.requests.needs import merge_needs
from shared.slurm.requests.script import ArrayPart, batch_script, sbatch_arguments
from stoker.contracts.environments import EnvironmentCreate
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.profiles import Profile, ProfileSpec
from stoker.contracts.resources import (
    BatchingConfig,
    LocalRunnerConfig,
    Resource,
    ResourceSpec,
    SlurmConfig,
    SlurmRunnerConfig,
)
from tests.pure.test_golden_contracts import ID, MADE
from tests.workshop.registry import seed

SLURM = ["slurm_sudo", "slurm_ssh"]


def connection(kind: Any, *, profile: Any = None, runner: Any = None, **resource: Any) -> Connection:
    """A seed's resource and profile with changes; `runner` are those of its runner configuration."""
    written = seed(f"resource_{kind}") | resource
    written["jobs_runner_config"] = written["jobs_runner_config"] | (runner or {})
    spec: Any = msgspec.convert(written, ResourceSpec)
    profile_spec: Any = msgspec.convert(seed(f"profile_{kind}") | (profile or {}), ProfileSpec)
    times: dict[str, Any] = {"version": 1, "created_at": MADE, "updated_at": MADE}
    return Connection(
        resource=Resource(id=ID, name="r", type=kind, spec=spec, **times),
        profile=Profile(id=ID, resource_id=ID, name="p", resource_type=kind, spec=profile_spec, **times),
    )


def script(used: Connection, **request: Any) -> list[str]:
    """The batch script of a job there, line by line."""
    spec: Any = used.resource.spec
    needs = merge_needs(spec.jobs_runner_config, msgspec.convert({"profile_id": ID, **request}, JobSubmit))
    text = batch_script(needs, parallel=1, python=spec.jobs_slurm_python_worker, job_folder="/jobs/1")
    return text.splitlines()


def file_of(used: Connection, **request: Any) -> dict[str, Any]:
    """What a runner is told of a batch there."""
    spec = msgspec.json.encode({"profile_id": ID, "command": ["true"], **request}).decode()
    placement = "local" if used.resource.type == "local" else "slurm"
    job: Any = SimpleNamespace(
        id=ID, kind="work", placement=placement, spec=spec, snapshot=msgspec.json.encode(used).decode()
    )
    batch: Any = SimpleNamespace(id=ID, batch_index=0, parallel=1, phase=0, memory_growth=0, time_growth=0)
    found: dict[str, Any] = msgspec.json.decode(batch_file(job, batch, StagingLimits()))
    return found


OPTIONS: dict[str, tuple[Any, str]] = {
    "partition": ("special", "#SBATCH --partition=special"),
    "cpus_per_task": (3, "#SBATCH --cpus-per-task=3"),
    "mem": ("3G", "#SBATCH --mem=3000M"),
    "constraint": ("avx2", "#SBATCH --constraint=avx2"),
    "gres": ("gpu:a100:2", "#SBATCH --gres=gpu:a100:2"),
    "exclude": ("n1", "#SBATCH --exclude=n1"),
    "nodelist": ("n[2-3]", "#SBATCH --nodelist=n[2-3]"),
    "nodes": (2, "#SBATCH --nodes=2"),
    "time": ("2:00:00", "#SBATCH --time=0-02:00:00"),
    "account": ("lab", "#SBATCH --account=lab"),
    "extra_lines": (["#SBATCH --qos=long", "export A=1"], "export A=1"),
    "gpus": ("a100:2", "#SBATCH --gpus=a100:2"),
    "shebang_line": ("#!/bin/bash", "#!/bin/bash"),
    "use_mem_per_cpu": (True, "#SBATCH --mem-per-cpu=100M"),
}


@pytest.mark.parametrize("field", SlurmConfig.__struct_fields__)
@pytest.mark.parametrize("layer", ["default_slurm_config", "gpu_slurm_config"])
@pytest.mark.parametrize("kind", SLURM)
def test_each_option_is_in_the_script(kind: str, layer: str, field: str) -> None:
    value, line = OPTIONS[field]
    base = {"partition": "main", "cpus_per_task": 1, "mem": "100M"}
    changed = {"default_slurm_config": base, "gpu_slurm_config": None}
    without = connection(kind, runner=changed)
    written = (base if layer == "default_slurm_config" else {}) | {field: value}
    there = connection(kind, runner={**changed, layer: written})
    gpu = {"needs": {"needs_gpu": True}}
    assert line in script(there, **gpu)
    assert line not in script(without, **gpu)
    if layer == "gpu_slurm_config":
        assert script(there) == script(without)


WIDE = {
    "target_cpus_per_job": 10,
    "max_cpus_per_job": 10,
    "target_mem_per_job": 10_000,
    "max_mem_per_job": 10_000,
    "target_num_jobs": 10,
    "max_num_jobs": 10,
}
ONE_AT_A_TIME = {"target_cpus_per_job": 1, "target_num_jobs": 1}


@pytest.mark.parametrize(
    ("field", "others", "values", "jobs"),
    [
        ("target_cpus_per_job", {}, (5, 1), (2, 10)),
        ("target_mem_per_job", {}, (500, 100), (2, 10)),
        ("target_num_jobs", {"target_cpus_per_job": 1, "max_cpus_per_job": 5}, (10, 1), (10, 2)),
        ("max_cpus_per_job", ONE_AT_A_TIME, (5, 2), (2, 5)),
        ("max_mem_per_job", ONE_AT_A_TIME | {"target_mem_per_job": 100}, (500, 200), (2, 5)),
        ("max_num_jobs", ONE_AT_A_TIME | {"max_cpus_per_job": 2}, (10, 4), (5, 4)),
    ],
)
def test_each_bound_changes_how_ten_units_are_divided(field: str, others: Any, values: Any, jobs: Any) -> None:
    found = []
    for value in values:
        runner = {"batching_config": WIDE | others | {field: value}}
        submit = JobSubmit(profile_id=ID, command=["true"], units=[{}] * 10)
        found.append(len(plan_job(submit, connection("slurm_ssh", runner=runner).resource.spec, 1).batches))
    assert tuple(found) == jobs
    assert set(WIDE) == set(BatchingConfig.__struct_fields__)


def test_each_part_of_a_slurm_runner_configuration_has_an_effect() -> None:
    shown = {"default_slurm_config", "gpu_slurm_config", "batching_config"}  # by the tests above
    exports = connection("slurm_sudo", runner={"user_local_exports": {"MODELS": "models"}})
    assert file_of(exports)["exports"] == {"MODELS": "models"}
    steps = connection("slurm_ssh", runner={"units_as_steps": True})
    assert (file_of(steps)["step"], file_of(connection("slurm_ssh")).get("step")) == (True, None)
    arguments = sbatch_arguments(ArrayPart(0, (0, 1)), script="/s", job_folder="/jobs/1", marker="m", at_once=7)
    assert "--array=0-1%7" in arguments
    accounts = "tests/pure/test_slurm_needs.py::test_an_administrator_can_keep_jobs_from_naming_an_account"
    elsewhere = {"max_running_jobs": arguments, "prevent_job_accounts": accounts}
    assert set(SlurmRunnerConfig.__struct_fields__) == shown | {"user_local_exports", "units_as_steps"} | set(
        elsewhere
    )


@pytest.mark.parametrize(("limit", "slots"), [(1, 1), (3, 3), (None, 8)])
def test_a_local_resource_runs_so_many_units_at_once(limit: int | None, slots: int) -> None:
    spec = connection("local", runner={"parallel_tasks_per_job": limit}).resource.spec
    plan = plan_job(JobSubmit(profile_id=ID, command=["true"], units=[{}] * 20), spec, 8)
    assert [batch.parallel for batch in plan.batches] == [slots]
    assert LocalRunnerConfig.__struct_fields__ == ("parallel_tasks_per_job",)


@pytest.mark.parametrize("kind", SLURM)
def test_the_worker_python_runs_the_runner(kind: str) -> None:
    assert script(connection(kind, jobs_slurm_python_worker="/opt/py"))[-1].startswith("exec /opt/py ")


def test_folders_are_those_of_the_resource_or_of_the_profile() -> None:
    local = connection("local", jobs_local_dir="/j", tasks_local_dir="/t")
    remote = {"jobs_remote_dir": "/rj", "tasks_remote_dir": "/rt", "pixi_cache_dir": "/pixi"}
    ssh = connection("slurm_ssh", profile=remote)
    sudo = connection("slurm_sudo", profile={"jobs_remote_dir": "/rj"}, tasks_local_dir="/t")
    assert [roots_of(used)[JOBS] for used in (local, ssh, sudo)] == ["/j", "/rj", "/rj"]
    sites = [site_of(used, BuildSettings()) for used in (local, ssh, sudo)]
    assert [site.root for site in sites] == ["/t", "/rt", "/t"]
    assert [site.pixi_cache_dir for site in sites] == [None, "/pixi", None]


@pytest.mark.parametrize("kind", ["local", *SLURM])
def test_the_cache_folder_of_units_is_the_profiles_or_the_jobs(kind: str) -> None:
    variables = ("FRACTAL_CACHE_DIR", "STOKER_CACHE_DIR")
    theirs = connection(kind, profile={"cache_dir": "/people/ada"})
    assert file_of(connection(kind))["environment"] == {}
    assert file_of(theirs)["environment"] == dict.fromkeys(variables, "/people/ada")
    assert file_of(theirs, cache_dir="/own")["environment"] == dict.fromkeys(variables, "/own")


def test_the_jobs_own_lines_are_in_the_script_or_before_each_unit() -> None:
    assert "module load x" in script(connection("slurm_ssh"), worker_init="module load x\n")
    assert file_of(connection("slurm_ssh"), worker_init="module load x")["command"] == ["true"]
    local = file_of(connection("local"), worker_init="module load x")
    assert (local["command"][0], local["command"][-1]) == ("/bin/sh", "true")
    assert local["environment"] == {"STOKER_WORKER_INIT": "module load x"}


@pytest.mark.parametrize("older", [True, False])
def test_pythons_and_their_cache_are_those_of_the_resource(older: bool) -> None:  # noqa: FBT001 - a parameter
    python: dict[str, Any] = {"default_version": "3.12", "versions": {"3.11": "/py/3.11", "3.12": "/py/3.12"}}
    spec: dict[str, Any] = {"tasks_python_config": python}
    if older:
        spec["tasks_pip_cache_dir"] = "/cache"
    else:
        python["pip_cache_dir"] = "/cache"
    create: Any = msgspec.convert({"source": "pypi", "profile_id": ID, "package": "a"}, EnvironmentCreate)
    arguments = creation("e", create, connection("local", **spec).resource.spec, Site(root="/t"))
    assert (arguments["python"], arguments["pip_cache_dir"]) == ("/py/3.12", "/cache")
    other = msgspec.structs.replace(create, python_version="3.11")
    assert creation("e", other, connection("local", **spec).resource.spec, Site(root="/t"))["python"] == "/py/3.11"


def test_each_setting_of_pixi_reaches_the_builder() -> None:
    job = {"partition": "builds", "cpus": 2, "mem_per_cpu": "2G", "time": "20", "preamble": ["module load x"]}
    pixi = {
        "versions": {"0.5": "/opt/pixi/0.5", "0.6": "/opt/pixi/0.6"},
        "default_version": "0.6",
        "PIXI_CONCURRENT_SOLVES": 1,
        "PIXI_CONCURRENT_DOWNLOADS": 2,
        "TOKIO_WORKER_THREADS": 3,
        "DEFAULT_ENVIRONMENT": "prod",
        "DEFAULT_PLATFORM": "linux-aarch64",
        "SLURM_CONFIG": job,
    }
    used = connection("slurm_ssh", tasks_pixi_config=pixi)
    project = '[workspace]\nplatforms = ["linux-64", "linux-aarch64"]\n'
    project += '[feature.x]\n[environments]\nprod = ["x"]\ndev = []\n'
    sent = {"source": "pixi", "profile_id": ID, "file_name": "a-1.tar.gz", "content": "eA=="}
    create: Any = msgspec.convert(sent, EnvironmentCreate)
    site = Site(root="/t", pixi_cache_dir="/pixi/cache")
    arguments = creation("e", create, used.resource.spec, site, {"pixi.toml": project})
    source = arguments["source"]
    assert (source["home"], source["environment"], source["cache_dir"]) == ("/opt/pixi/0.6", "prod", "/pixi/cache")
    assert list(source["variables"].values()) == ["1", "2", "3"]
    assert "linux-64" not in source["project_files"]["pixi.toml"]
    assert "dev" not in source["project_files"]["pixi.toml"]
    build = slurm_build(used, arguments)
    assert build is not None
    needs = merge_needs(build.config, JobSubmit(profile_id=ID, extra_lines=build.lines))
    assert (needs.partition, needs.cpus, needs.memory_mb, needs.time_seconds) == ("builds", 2, 4000, 1200)
    assert needs.shell_lines == ["module load x"]
