"""From a manifest to tasks: types, needs, and what other versions and systems wrote."""

from typing import Any

import pytest

from services.executor.tasks.manifest import tasks_of
from services.executor.tasks.needs import merged
from stoker.contracts.needs import Needs
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
    found = tasks_of(manifest(task, authors="Ada", args_schema_version="pydantic_v2"))
    assert found.warnings == []
    (only,) = found.tasks
    assert only.needs_non_parallel == Needs(mem="1G")
    assert only.needs_parallel == Needs(cpus_per_task=4, mem=16000, needs_gpu=True)
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
    found = tasks_of(manifest(task))
    assert found.tasks[0].type == "parallel"
    assert found.tasks[0].needs_parallel == Needs(time="1:00:00")
    assert found.tasks[0].needs_non_parallel is None
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("task 'Old': meta_parallel.cpus_per_task is left out: ")


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
    base = Needs(cpus_per_task=4, mem=16000, needs_gpu=True)
    assert merged(base, Needs()) == base
    assert merged(base, Needs(mem="2G", time="10")) == Needs(cpus_per_task=4, mem="2G", time="10", needs_gpu=True)
    assert merged(None, Needs(mem=1)) == Needs(mem=1)
