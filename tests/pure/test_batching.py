import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.executor.planning.growth import grown_needs
from services.executor.planning.slurm import Bounds, Shape, batch_shape, bounds_of, plan_slurm, script_parallel
from services.executor.repositories.attempts import may_follow
from shared.slurm.answers.cluster import Partition
from shared.slurm.requests.needs import UnitNeeds
from stoker.contracts.jobs import Reason
from stoker.contracts.needs import Retries
from stoker.contracts.resources import BatchingConfig
from stoker.errors import Invalid

TABLE = Bounds(target_cpus=4, max_cpus=16, target_memory=10000, max_memory=32000, target_jobs=10, max_jobs=20)


@pytest.mark.parametrize(
    ("units", "cpus", "memory", "shape"),
    [
        (1, 1, 1000, (4, 4)),
        (40, 1, 1000, (4, 4)),
        (41, 1, 1000, (16, 16)),
        (320, 1, 1000, (16, 16)),
        (321, 1, 1000, (17, 16)),
        (5000, 1, 1000, (250, 16)),
        (10, 16, 1000, (1, 1)),
        (25, 16, 1000, (2, 1)),
        (25, 1, 32000, (2, 1)),
    ],
)
def test_the_formula_divides_as_the_table_says(units: int, cpus: int, memory: int, shape: tuple[int, int]) -> None:
    assert batch_shape(units, cpus, memory, TABLE) == Shape(*shape)


@pytest.mark.parametrize(("cpus", "memory", "path"), [(17, 1000, "needs.cpus_per_task"), (1, 32001, "needs.mem")])
def test_a_unit_above_a_maximum_is_refused(cpus: int, memory: int, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        batch_shape(1, cpus, memory, TABLE)
    assert [error.path for error in caught.value.errors] == [path]


def test_a_given_division_is_kept_and_runs_no_more_at_once_than_it_has() -> None:
    assert batch_shape(10, 1, 1000, TABLE, tasks_per_job=5, parallel_tasks_per_job=9) == Shape(5, 5)


@pytest.mark.parametrize(
    ("units", "given_", "path"),
    [
        (100, (4, 4), "tasks_per_job"),
        (100, (40, 17), "parallel_tasks_per_job"),
        (10, (4, None), "parallel_tasks_per_job"),
        (10, (None, 4), "tasks_per_job"),
    ],
)
def test_a_given_division_above_a_maximum_or_by_half_is_refused(
    units: int, given_: tuple[int | None, int | None], path: str
) -> None:
    with pytest.raises(Invalid) as caught:
        batch_shape(units, 1, 1000, TABLE, tasks_per_job=given_[0], parallel_tasks_per_job=given_[1])
    assert [error.path for error in caught.value.errors] == [path]


def test_a_given_division_with_too_much_memory_at_once_is_refused() -> None:
    with pytest.raises(Invalid):
        batch_shape(16, 1, 8000, TABLE, tasks_per_job=8, parallel_tasks_per_job=8)


bounds = st.builds(
    lambda cpus, more_cpus, memory, more_memory, jobs, more_jobs: Bounds(
        target_cpus=cpus,
        max_cpus=cpus + more_cpus,
        target_memory=memory,
        max_memory=memory + more_memory,
        target_jobs=jobs,
        max_jobs=jobs + more_jobs,
    ),
    *[st.integers(1, 64), st.integers(0, 64)],
    *[st.integers(1, 10**6), st.integers(0, 10**6)],
    *[st.integers(1, 50), st.integers(0, 50)],
)
needs = st.builds(
    UnitNeeds,
    cpus=st.integers(1, 128),
    memory_mb=st.none() | st.integers(1, 2 * 10**6),
    one_at_a_time=st.none() | st.just("because"),
)


@given(st.integers(1, 20000), needs, bounds)
def test_the_formula_runs_every_unit_once_and_no_batch_is_above_a_maximum(
    units: int, unit: UnitNeeds, limits: Bounds
) -> None:
    assume(unit.cpus <= limits.max_cpus)
    assume((unit.memory_mb or 0) <= limits.max_memory)
    batches = plan_slurm(units, unit, limits).batches
    assert [index for batch in batches for index in range(batch.first, batch.first + batch.unit_count)] == list(
        range(units)
    )
    assert [batch.index for batch in batches] == list(range(len(batches)))
    assert len(batches) <= limits.max_jobs
    parallel = script_parallel(batches)
    assert parallel * unit.cpus <= limits.max_cpus
    assert parallel * (unit.memory_mb or 0) <= limits.max_memory
    assert parallel == 1 or unit.one_at_a_time is None
    assert all(1 <= batch.parallel <= batch.unit_count for batch in batches)


@given(st.integers(1, 20000), needs, bounds, st.integers(1, 200), st.integers(1, 200))
def test_a_given_division_is_refused_or_within_every_maximum(
    units: int, unit: UnitNeeds, limits: Bounds, tasks: int, parallel: int
) -> None:
    try:
        plan = plan_slurm(units, unit, limits, tasks_per_job=tasks, parallel_tasks_per_job=parallel)
    except Invalid as error:
        assert error.errors  # noqa: PT017 - any of several paths
        return
    assert sum(batch.unit_count for batch in plan.batches) == units
    assert len(plan.batches) == math.ceil(units / tasks) <= limits.max_jobs
    assert script_parallel(plan.batches) * unit.cpus <= limits.max_cpus


def test_few_units_do_not_ask_for_the_room_of_a_full_batch() -> None:
    (batch,) = plan_slurm(1, UnitNeeds(cpus=1, memory_mb=1000), TABLE).batches
    assert (batch.unit_count, batch.parallel) == (1, 1)


def test_a_division_above_the_targets_is_a_warning_for_each() -> None:
    unit = UnitNeeds(cpus=1, memory_mb=2000)
    warnings = plan_slurm(88, unit, TABLE, tasks_per_job=8, parallel_tasks_per_job=8).warnings
    assert [word for word in ("target_cpus", "target_mem", "target_num") for text in warnings if word in text] == [
        "target_cpus",
        "target_mem",
        "target_num",
    ]


def test_units_that_must_run_one_at_a_time_do_and_the_plan_says_so() -> None:
    unit = UnitNeeds(cpus=1, memory_mb=1000, one_at_a_time="each unit has 2 nodes of its own")
    plan = plan_slurm(8, unit, TABLE, tasks_per_job=4, parallel_tasks_per_job=4)
    assert [batch.parallel for batch in plan.batches] == [1, 1]
    assert any("2 nodes" in text for text in plan.warnings)
    assert len(plan_slurm(8, unit, TABLE).batches) == 8


def test_a_queue_of_units_that_cannot_fit_into_the_limit_is_a_warning() -> None:
    unit = UnitNeeds(cpus=1, memory_mb=1000, time_seconds=3600, unit_time_seconds=300)
    assert plan_slurm(3200, unit, TABLE).warnings == []
    (warning,) = plan_slurm(5000, unit, TABLE).warnings
    assert "0-01:20:00" in warning


def test_the_partitions_limits_count_too() -> None:
    main = Partition(name="main", default=True, up=True, max_time_seconds=600, default_time_seconds=300)
    unit = UnitNeeds(cpus=1, memory_mb=1000, unit_time_seconds=400)
    assert len(plan_slurm(4, unit, TABLE, partition=main).warnings) == 1
    (warning,) = plan_slurm(4, UnitNeeds(cpus=1, memory_mb=1000, time_seconds=601), TABLE, partition=main).warnings
    assert "main" in warning


def test_bounds_are_read_from_the_configuration() -> None:
    config = BatchingConfig(
        target_cpus_per_job=4,
        max_cpus_per_job=16,
        target_mem_per_job="10G",
        max_mem_per_job=32000,
        target_num_jobs=10,
        max_num_jobs=20,
    )
    assert bounds_of(config) == TABLE


def test_a_unit_is_tried_again_as_often_as_asked_and_only_for_the_reasons_asked() -> None:
    retries = Retries(count=2, on=frozenset({"out_of_memory", "node_failure"}))
    assert may_follow(retries, Reason(code="out_of_memory", text=""), 1)
    assert may_follow(retries, Reason(code="node_failure", text=""), 2)
    assert not may_follow(retries, Reason(code="out_of_memory", text=""), 3)
    assert not may_follow(retries, Reason(code="exit_code", text=""), 1)
    assert not may_follow(retries, Reason(code="cancelled", text=""), 2)
    assert not may_follow(retries, None, 1)
    assert not may_follow(Retries(), Reason(code="node_failure", text=""), 1)


def test_an_attempt_gets_more_of_what_ran_out_up_to_the_maximum() -> None:
    unit = UnitNeeds(memory_mb=1000, time_seconds=600, unit_time_seconds=60)
    retries = Retries(count=5, memory_factor=2, time_factor=3)

    def grown(*past: str) -> tuple[int | None, float | None, float | None]:
        more = grown_needs(unit, retries, past, max_memory_mb=5000, max_time_seconds=3600)
        return more.memory_mb, more.time_seconds, more.unit_time_seconds

    assert grown("node_failure") == (1000, 600, 60)
    assert grown("out_of_memory") == (2000, 600, 60)
    assert grown("out_of_memory", "time_limit", "out_of_memory") == (4000, 1800, 180)
    assert grown(*["out_of_memory"] * 3) == (5000, 600, 60)
    assert grown("time_limit", "time_limit") == (1000, 3600, 540)
