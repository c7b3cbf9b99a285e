"""Arguments of units by the task's type, and arguments that do not fit."""

from typing import Any

import pytest

from services.executor.tasks.arguments import Phase, compute_units, phases_of
from services.executor.tasks.manifest import TaskDescription, tasks_of
from stoker.contracts.needs import PartNeeds
from stoker.contracts.tasks import ComputeUnit, TaskRun
from stoker.errors import Invalid
from tests.workshop.packages import manifest

ONCE, EACH = {"executable_non_parallel": "once.py"}, {"executable_parallel": "each.py"}
SCHEMA = {
    "type": "object",
    "properties": {
        "zarr_url": {"type": "string"},
        "init_args": {"type": "object"},
        "level": {"type": "integer", "minimum": 0},
        "channels": {"type": "array", "items": {"$ref": "#/$defs/channel"}},
    },
    "required": ["zarr_url", "init_args", "level"],
    "additionalProperties": False,
    "$defs": {"channel": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
}


def task(kind: str, **more: Any) -> TaskDescription:
    executables = {
        "non_parallel": ONCE,
        "parallel": EACH,
        "compound": ONCE | EACH,
        "converter_non_parallel": ONCE,
        "converter_compound": ONCE | EACH,
    }[kind]
    return tasks_of(manifest({"name": "t", "type": kind, **executables, **more}))[0]


def run(**more: Any) -> TaskRun:
    return TaskRun(environment_id="e", task="t", **more)


def wrong(description: TaskDescription, request: TaskRun) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        phases_of(description, request)
    return {error.path: error.message for error in caught.value.errors}


def units(phases: list[Phase]) -> list[tuple[str, str, Any]]:
    return [(phase.name, phase.executable, phase.units) for phase in phases]


def test_a_non_parallel_task_runs_once_with_all_images() -> None:
    request = run(zarr_dir="/d", zarr_urls=["/d/1"], arguments_non_parallel={"a": 1})
    assert units(phases_of(task("non_parallel"), request)) == [
        ("run", "once.py", [{"zarr_dir": "/d", "zarr_urls": ["/d/1"], "a": 1}]),
    ]


def test_a_parallel_task_runs_once_for_each_image() -> None:
    request = run(zarr_urls=["/d/1", "/d/2"], arguments_parallel={"a": 1})
    assert units(phases_of(task("parallel"), request)) == [
        ("run", "each.py", [{"zarr_url": "/d/1", "a": 1}, {"zarr_url": "/d/2", "a": 1}]),
    ]


def test_a_compound_task_has_two_phases_and_the_first_decides_the_second() -> None:
    request = run(zarr_dir="/d", zarr_urls=["/d/1"], arguments_non_parallel={"a": 1}, arguments_parallel={"level": 2})
    assert units(phases_of(task("compound"), request)) == [
        ("init", "once.py", [{"zarr_dir": "/d", "zarr_urls": ["/d/1"], "a": 1}]),
        ("compute", "each.py", None),
    ]
    elements = [ComputeUnit(zarr_url="/d/1", init_args={"well": "A"}), ComputeUnit(zarr_url="/d/2")]
    assert compute_units(elements, request.arguments_parallel) == [
        {"zarr_url": "/d/1", "init_args": {"well": "A"}, "level": 2},
        {"zarr_url": "/d/2", "init_args": {}, "level": 2},
    ]


@pytest.mark.parametrize(("kind", "phases"), [("converter_non_parallel", 1), ("converter_compound", 2)])
def test_a_converter_gets_no_images(kind: str, phases: int) -> None:
    found = phases_of(task(kind), run(zarr_dir="/d", arguments_non_parallel={"a": 1}))
    assert len(found) == phases
    assert found[0].units == [{"zarr_dir": "/d", "a": 1}]
    assert "zarr_urls" in wrong(task(kind), run(zarr_dir="/d", zarr_urls=["/d/1"]))


def test_each_phase_has_its_own_needs() -> None:
    description = task("compound", meta_non_parallel={"mem": 1}, meta_parallel={"mem": 2})
    found = phases_of(description, run(zarr_dir="/d", needs_parallel=PartNeeds(cpus_per_task=3)))
    assert [phase.needs for phase in found] == [PartNeeds(mem=1), PartNeeds(mem=2, cpus_per_task=3)]


def test_what_a_task_gets_must_be_there() -> None:
    assert wrong(task("non_parallel"), run()) == {"zarr_dir": "is required: a task of type non_parallel gets it"}
    assert list(wrong(task("parallel"), run(zarr_dir="/d"))) == ["zarr_urls"]


def test_arguments_of_a_part_that_the_task_does_not_have_are_refused() -> None:
    assert list(wrong(task("parallel"), run(zarr_urls=["/d"], arguments_non_parallel={"a": 1}))) == [
        "arguments_non_parallel"
    ]


def test_what_every_task_gets_cannot_be_given() -> None:
    request = run(zarr_urls=["/d"], arguments_parallel={"zarr_url": "/x", "init_args": {}})
    assert list(wrong(task("parallel"), request)) == ["arguments_parallel.init_args", "arguments_parallel.zarr_url"]


def test_arguments_are_held_against_the_tasks_schema() -> None:
    description = task("parallel", args_schema_parallel=SCHEMA)
    good = {"level": 0, "channels": [{"name": "a"}]}
    assert phases_of(description, run(zarr_urls=["/d"], arguments_parallel=good))
    bad = {"level": -1, "channels": [{"name": "a"}, {}], "chanels": 1}
    found = wrong(description, run(zarr_urls=["/d"], arguments_parallel=bad))
    assert set(found) == {
        "arguments_parallel",
        "arguments_parallel.level",
        "arguments_parallel.channels[1]",
    }
    assert "chanels" in found["arguments_parallel"]
    assert wrong(description, run(zarr_urls=["/d"])) == {"arguments_parallel": '"level" is a required property'}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "https://example.invalid/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#"},
        {"properties": {"a": {"pattern": "["}}},
        {"required": "level"},
    ],
)
def test_a_schema_that_is_none_is_held_against_nobody_and_fetches_nothing(schema: dict[str, Any]) -> None:
    description = task("parallel", args_schema_parallel=schema)
    assert phases_of(description, run(zarr_urls=["/d"], arguments_parallel={"a": 1}))


def test_a_pattern_of_a_stranger_does_not_hang_the_service() -> None:
    schema = {"properties": {"a": {"pattern": r"^(a+)+(?=b)$"}}}
    description = task("parallel", args_schema_parallel=schema)
    assert wrong(description, run(zarr_urls=["/d"], arguments_parallel={"a": "a" * 60 + "c"}))
