"""What a package says about each part of a task has its effect, unless the call says otherwise."""

from typing import Any

import msgspec
import pytest

from services.executor.building.results import Built
from services.executor.planning.plan import plan_job
from services.executor.repositories.stored_submit import StoredSubmit, of_phase
from services.executor.tasks.arguments import phases_of
from services.executor.tasks.manifest import tasks_of
from services.executor.tasks.runs import kept_phase, with_slots
from shared.slurm.requests.needs import merge_needs
from shared.slurm.requests.script import batch_script
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.resources import LocalResourceSpec, ResourceSpec
from stoker.contracts.tasks import TaskRun
from stoker.errors import Invalid
from tests.workshop.packages import manifest
from tests.workshop.registry import KINDS, seed

BUILT = Built(command=["/env/python"], package_folder="/env/tasks")
BATCHING = {
    "target_cpus_per_job": 4,
    "max_cpus_per_job": 8,
    "target_mem_per_job": 4000,
    "max_mem_per_job": 8000,
    "target_num_jobs": 100,
    "max_num_jobs": 1000,
}
CPUS = 6


def resource(kind: str, **default: Any) -> ResourceSpec:
    spec = seed(f"resource_{kind}")
    if kind == "local":
        spec["jobs_runner_config"] = {"parallel_tasks_per_job": 4}
    else:
        spec["jobs_runner_config"]["batching_config"] = BATCHING
        spec["jobs_runner_config"]["default_slurm_config"] |= default
    return msgspec.convert(spec, ResourceSpec)  # type: ignore[no-any-return]


def stored(spec: ResourceSpec, meta_init: Any, meta_compute: Any, run: Any = None, **call: Any) -> StoredSubmit:
    """A compound task's call, as it is kept; `run` is what the call says for the parts."""
    task = {
        "name": "t",
        "type": "compound",
        "executable_non_parallel": "init.py",
        "executable_parallel": "compute.py",
        "meta_non_parallel": meta_init,
        "meta_parallel": meta_compute,
    }
    (described,) = tasks_of(manifest(task))
    wanted = {"environment_id": "e", "task": "t", "zarr_dir": "/d", **(run or {})}
    submit = msgspec.convert({"profile_id": "p", "task": wanted, **call}, JobSubmit)
    phases = phases_of(described, msgspec.convert(wanted, TaskRun))
    kept = [kept_phase(phase, submit, BUILT, spec) for phase in phases]
    values = {name: getattr(submit, name) for name in submit.__struct_fields__} | {"task": None, "units": [{}]}
    return StoredSubmit(**values, phases=kept)


def script(submit: StoredSubmit, spec: ResourceSpec, phase: int) -> list[str]:
    assert not isinstance(spec, LocalResourceSpec)
    needs = merge_needs(spec.jobs_runner_config, of_phase(submit, phase))
    return batch_script(needs, parallel=1, python="/python", job_folder="/jobs/1").splitlines()


def batches(submit: StoredSubmit, spec: ResourceSpec, phase: int, count: int) -> list[tuple[int, int]]:
    wanted = msgspec.structs.replace(of_phase(submit, phase), units=[{}] * count)
    return [(batch.unit_count, batch.parallel) for batch in plan_job(wanted, spec, CPUS).batches]


@pytest.mark.parametrize("kind", ["slurm_sudo", "slurm_ssh"])
def test_lines_of_a_part_are_in_the_script_of_that_part_alone(kind: str) -> None:
    spec = resource(kind, extra_lines=["module load base"])
    compute = {"extra_lines": ["#SBATCH --qos=long", "module load base", "export A=1"]}
    kept = stored(spec, {"extra_lines": ["export INIT=1"]}, compute, extra_lines=["export CALL=1"])
    init, computing = script(kept, spec, 0), script(kept, spec, 1)
    assert "export INIT=1" in init
    assert not {"#SBATCH --qos=long", "export A=1"} & set(init)
    assert {"#SBATCH --qos=long", "export A=1", "export CALL=1"} < set(computing)
    assert "export INIT=1" not in computing
    assert [lines.count("module load base") for lines in (init, computing)] == [1, 1]
    assert [lines.count("export CALL=1") for lines in (init, computing)] == [1, 1]


def test_lines_that_the_call_says_for_a_part_follow_the_packages() -> None:
    spec = resource("slurm_ssh")
    run = {"needs_parallel": {"extra_lines": ["export B=1"], "mem": "1G"}}
    kept = stored(spec, {}, {"extra_lines": ["export A=1"], "mem": 500}, run)
    lines = script(kept, spec, 1)
    assert lines.index("export A=1") < lines.index("export B=1")
    assert "#SBATCH --mem=1000M" in lines
    assert not {"export A=1", "export B=1"} & set(script(kept, spec, 0))


@pytest.mark.parametrize("kind", ["slurm_sudo", "slurm_ssh"])
def test_a_part_says_how_its_units_are_put_together(kind: str) -> None:
    spec = resource(kind)
    kept = stored(spec, {}, {"tasks_per_job": 10, "parallel_tasks_per_job": 2})
    assert batches(kept, spec, 1, 25) == [(10, 2), (10, 2), (5, 2)]
    assert batches(kept, spec, 0, 1) == [(1, 1)]
    by_the_call = stored(
        spec,
        {},
        {"tasks_per_job": 10, "parallel_tasks_per_job": 2},
        tasks_per_job=20,
        parallel_tasks_per_job=4,
    )
    assert batches(by_the_call, spec, 1, 25) == [(20, 4), (5, 4)]
    for_the_part = {"needs_parallel": {"tasks_per_job": 25, "parallel_tasks_per_job": 1}}
    assert batches(stored(spec, {}, {"tasks_per_job": 10}, for_the_part), spec, 1, 25) == [(25, 1)]
    assert with_slots(kept, spec, CPUS).phases[1].slots >= 1


def test_a_package_that_says_how_many_run_at_once_only_leaves_the_division_to_the_resource() -> None:
    spec = resource("slurm_ssh")
    kept = stored(spec, {}, {"parallel_tasks_per_job": 2})
    assert batches(kept, spec, 1, 8) == batches(stored(spec, {}, {}), spec, 1, 8) == [(4, 4), (4, 4)]


def test_a_division_above_the_resources_limits_is_refused_with_what_to_write() -> None:
    spec = resource("slurm_ssh")
    kept = stored(spec, {}, {"tasks_per_job": 100, "parallel_tasks_per_job": 100})
    with pytest.raises(Invalid) as caught:
        batches(kept, spec, 1, 500)
    assert "must be at most 8" in caught.value.errors[0].message


@pytest.mark.parametrize(("at_once", "slots"), [(2, 2), (9, 4), (None, 4)])
def test_on_a_local_resource_a_part_says_how_many_run_at_once_up_to_the_limit(at_once: Any, slots: int) -> None:
    spec = resource("local")
    compute = {"parallel_tasks_per_job": at_once, "tasks_per_job": 3, "extra_lines": ["export A=1"], "mem": 9}
    kept = with_slots(stored(spec, {"parallel_tasks_per_job": 1}, compute), spec, CPUS)
    assert kept.phases[1].slots == slots
    assert batches(kept, spec, 1, 20) == [(20, slots)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_call_switches_off_a_gpu_that_the_package_asks_for(kind: str) -> None:
    spec = resource(kind)
    kept = stored(spec, {}, {"needs_gpu": "true"})
    without = stored(spec, {}, {"needs_gpu": "true"}, needs={"needs_gpu": False})
    assert [one.phases[1].needs.needs_gpu for one in (kept, without)] == [True, False]
    if kind != "local":
        assert "#SBATCH --gres=gpu:v100:1" in script(kept, spec, 1)
        assert not [line for line in script(without, spec, 1) if "gpu" in line]
