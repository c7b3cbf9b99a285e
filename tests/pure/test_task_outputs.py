"""What units of tasks answer, and what is a failed unit."""

from typing import Any

import pytest

from services.executor.tasks.outputs import read_init_output, read_task_output
from stoker.contracts.tasks import MAX_COMPUTE_UNITS, ComputeUnit, ImageUpdate
from stoker.errors import Invalid


def test_the_init_names_its_compute_units_in_their_order() -> None:
    output = {"parallelization_list": [{"zarr_url": "/b", "init_args": {"x": [1]}}, {"zarr_url": "/a"}]}
    assert read_init_output(output) == [
        ComputeUnit(zarr_url="/b", init_args={"x": [1]}),
        ComputeUnit(zarr_url="/a"),
    ]


@pytest.mark.parametrize("output", [None, {}, {"parallelization_list": []}, {"parallelization_list": None}])
def test_an_init_may_ask_for_nothing(output: Any) -> None:
    assert read_init_output(output) == []


def test_five_thousand_compute_units_are_fine_and_too_many_are_not() -> None:
    elements = [{"zarr_url": f"/{number}", "init_args": {}} for number in range(MAX_COMPUTE_UNITS + 1)]
    assert len(read_init_output({"parallelization_list": elements[:5000]})) == 5000
    with pytest.raises(Invalid, match="has 100,001 elements, the limit is 100,000"):
        read_init_output({"parallelization_list": elements})


def test_what_an_init_names_twice_runs_once_in_the_place_of_the_first() -> None:
    first, second = {"zarr_url": "/b", "init_args": {"x": {"p": 1, "q": 2}}}, {"zarr_url": "/a"}
    again = [{"init_args": {"x": {"q": 2, "p": 1}}, "zarr_url": "/b"}, {"zarr_url": "/a", "init_args": {}}]
    other = {"zarr_url": "/b", "init_args": {"x": {"p": 1}}}
    found = read_init_output({"parallelization_list": [first, second, *again, other]})
    assert [(one.zarr_url, one.init_args) for one in found] == [
        ("/b", first["init_args"]),
        ("/a", None),
        ("/b", other["init_args"]),
    ]


def test_identical_updates_are_one_and_different_ones_of_an_image_are_refused() -> None:
    update = {"zarr_url": "/a", "types": {"3D": True}}
    found = read_task_output({"image_list_updates": [update, update | {"attributes": {}}, {"zarr_url": "/b"}]})
    assert [one.zarr_url for one in found.image_list_updates or []] == ["/a", "/b"]
    with pytest.raises(Invalid, match="/a more than once, and not with the same values"):
        read_task_output({"image_list_updates": [update, {"zarr_url": "/a"}]})


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ([], "got `array`"),
        ("text", "got `str`"),
        (5, "got `int`"),
        ({"parallelization": []}, "unknown field `parallelization`"),
        ({"parallelization_list": {}}, r"\$.parallelization_list"),
        ({"parallelization_list": [{}]}, r"zarr_url` - at `\$.parallelization_list\[0\]"),
        ({"parallelization_list": [{"zarr_url": ""}]}, "length >= 1"),
        ({"parallelization_list": [{"zarr_url": "/a", "init_args": []}]}, "init_args"),
    ],
)
def test_another_shape_of_the_inits_answer_is_said(output: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read_init_output(output)


def test_images_are_updated_and_removed() -> None:
    output = {
        "image_list_updates": [
            {"zarr_url": "/a", "origin": "/b", "attributes": {"well": "A"}, "types": {"3D": True}}
        ],
        "image_list_removals": ["/c"],
    }
    found = read_task_output(output)
    update = ImageUpdate(zarr_url="/a", origin="/b", attributes={"well": "A"}, types={"3D": True})
    assert found.image_list_updates == [update]
    assert found.image_list_removals == ["/c"]
    for nothing in (None, {}):
        assert read_task_output(nothing).image_list_updates is None


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ([{"zarr_url": "/a"}], "got `array`"),
        ({"image_list_update": []}, "unknown field `image_list_update`"),
        ({"image_list_updates": [{"attributes": {}}]}, "zarr_url"),
        ({"image_list_updates": [{"zarr_url": "/a", "types": {"3D": "yes"}}]}, "types"),
        ({"image_list_removals": [1]}, "image_list_removals"),
        ({"image_list_updates": [{"zarr_url": "/a"}], "image_list_removals": ["/a"]}, "both in image_list_updates"),
    ],
)
def test_another_shape_of_a_tasks_answer_is_said(output: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read_task_output(output)
