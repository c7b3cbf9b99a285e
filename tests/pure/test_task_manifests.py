"""From a manifest to tasks: types, needs, and what other versions and systems wrote."""

from typing import Any

import pytest
from msgspec import UNSET

from services.executor.tasks.manifest import tasks_of
from services.executor.tasks.needs import merged
from stoker.contracts.needs import Needs, PartNeeds
from stoker.errors import Invalid
from tests.workshop.packages import manifest


def test_everything_that_the_contract_names_is_kept() -> None:
    task = {
        "name": "Segment",
        "type": "compound",
        "executable_non_parallel": "init.py",
        "executable_parallel": "segment.py",
        "meta_non_parallel": {"mem": "1G"},
        "meta_parallel": {"cpus_per_task": 4, "mem": 16000, "needs_gpu": True},
        "input_types": {"3D": True},
        "output_types": {"segmented": True},
        "args_schema_non_parallel": {"type": "object"},
        "args_schema_parallel": {"type": "object", "title": "Segment"},
        "docs_info": "# Segment",
        "docs_link": "https://example.org/docs",
        "category": "Segmentation",
        "modality": "HCS",
        "tags": ["nuclei"],
    }
    (only,) = tasks_of(manifest(task, authors="Ada", args_schema_version="pydantic_v2"))
    assert only.warnings is UNSET
    assert only.needs_non_parallel == PartNeeds(mem="1G")
    assert only.needs_parallel == PartNeeds(cpus_per_task=4, mem=16000, needs_gpu=True)
    assert (only.authors, only.args_schema_version) == ("Ada", "pydantic_v2")
    kept = [name for name in task if not name.startswith("meta_")]
    assert {name: getattr(only, name) for name in kept} == {name: task[name] for name in kept}


def test_fields_of_other_versions_and_systems_are_tolerated_and_said() -> None:
    task = {
        "name": "Old",
        "executable_parallel": "old.py",
        "executable_non_parallel": None,
        "meta_parallel": {"cpus_per_task": 0, "mem": None, "parallelization_level": "image", "time": "1:00:00"},
        "meta_non_parallel": {"mem": 1},
        "tags": None,
        "input_types": None,
        "default_args": {"a": 1},
    }
    (found,) = tasks_of(manifest(task))
    assert found.type == "parallel"
    assert found.needs_parallel == PartNeeds(time="1:00:00")
    assert found.needs_non_parallel is None
    assert found.warnings == [
        "meta_non_parallel is left out: the task has no such part",
        "meta_parallel.cpus_per_task is left out: Expected `int` >= 1 - at `$.cpus_per_task`",
        "meta_parallel.parallelization_level is left out: it has no meaning here",
    ]


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("cpus_per_task", "4", 4),
        ("cpus_per_task", 4.0, 4),
        ("mem", "4000", "4000"),
        ("mem", 4000.0, 4000),
        ("needs_gpu", "true", True),
        ("needs_gpu", "False", False),
        ("needs_gpu", 1, True),
        ("time", 90, "90"),
        ("gpus", 1, "1"),
        ("tasks_per_job", "10", 10),
        ("parallel_tasks_per_job", 2.0, 2),
        ("extra_lines", ["#SBATCH --qos=long", "module load x"], ["#SBATCH --qos=long", "module load x"]),
        ("extra_lines", "module load x", ["module load x"]),
    ],
)
def test_values_of_another_type_than_they_mean_count(field: str, value: Any, meant: Any) -> None:
    task = {"name": "t", "executable_parallel": "t.py", "meta_parallel": {field: value}}
    (found,) = tasks_of(manifest(task))
    assert found.warnings is UNSET
    assert getattr(found.needs_parallel, field) == meant


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("cpus_per_task", "many", "int"),
        ("cpus_per_task", 1.5, "int"),
        ("needs_gpu", "perhaps", "bool"),
        ("extra_lines", [1], "str"),
        ("time", True, "str"),
        ("account", "lab", "named by the job"),
        ("worker_init", "module load x", "given with the job"),
        ("colour", "red", "no meaning here"),
    ],
)
def test_what_has_no_effect_is_said_with_the_task(field: str, value: Any, why: str) -> None:
    task = {"name": "t", "executable_parallel": "t.py", "meta_parallel": {field: value, "mem": 5}}
    (found,) = tasks_of(manifest(task))
    assert found.needs_parallel == PartNeeds(mem=5)
    assert found.warnings is not UNSET
    assert [why in warning for warning in found.warnings] == [True]


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (manifest({"name": "a"}), "manifest-invalid"),
        ({}, "manifest-invalid"),
        (manifest(*[{"name": "a", "executable_parallel": "a.py"}] * 2), "manifest-duplicate-task"),
    ],
)
def test_a_manifest_that_is_none_is_invalid(content: dict[str, Any], slug: str) -> None:
    with pytest.raises(Invalid) as caught:
        tasks_of(content)
    assert caught.value.slug == slug


def test_what_the_request_says_wins_over_the_manifest() -> None:
    base = PartNeeds(cpus_per_task=4, mem=16000, needs_gpu=True, extra_lines=["a"], tasks_per_job=4)
    assert merged(base, Needs()) == base
    changed = merged(base, PartNeeds(mem="2G", time="10", extra_lines=["b", "a"], tasks_per_job=2))
    assert (changed.cpus_per_task, changed.mem, changed.time) == (4, "2G", "10")
    assert (changed.extra_lines, changed.tasks_per_job, changed.needs_gpu) == (["a", "b"], 2, True)
    assert merged(None, Needs(mem=1)) == PartNeeds(mem=1)


def test_a_request_can_do_without_the_gpu_that_a_package_asks_for() -> None:
    assert merged(PartNeeds(needs_gpu=True), Needs(needs_gpu=False)).needs_gpu is False
    assert merged(PartNeeds(needs_gpu=False), Needs(needs_gpu=True)).needs_gpu is True
