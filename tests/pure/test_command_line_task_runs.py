"""`stoker run`: what its options make of a task's run, and which of them a task of some type cannot use."""

from pathlib import Path
from typing import Any

import pytest

from stoker.cli.commands.task_runs import Wish, read_images
from stoker.cli.submission import part_needs
from stoker.contracts.needs import PartNeeds
from stoker.errors import Invalid

NOTHING: dict[str, Any] = {
    "zarr_urls": [],
    "zarr_dir": None,
    "arguments": {},
    "arguments_init": None,
    "needs_init": None,
    "needs_compute": None,
}


def wish(**given: Any) -> Wish:
    return Wish(**(NOTHING | given))


def test_each_part_of_a_compound_task_has_its_arguments_and_needs() -> None:
    asked = wish(
        zarr_dir="/d",
        arguments={"a": 1},
        arguments_init={"b": 2},
        needs_init=PartNeeds(mem="1G"),
        needs_compute=PartNeeds(cpus_per_task=4),
    )
    run = asked.run("e", "t", "compound")
    assert (run.arguments_non_parallel, run.arguments_parallel) == ({"b": 2}, {"a": 1})
    assert (run.needs_non_parallel.mem, run.needs_parallel.cpus_per_task) == ("1G", 4)


def test_the_arguments_are_those_of_the_only_part() -> None:
    assert wish(arguments={"a": 1}, zarr_dir="/d").run("e", "t", "non_parallel").arguments_non_parallel == {"a": 1}
    assert wish(arguments={"a": 1}, zarr_urls=["/a"]).run("e", "t", "parallel").arguments_parallel == {"a": 1}


@pytest.mark.parametrize(
    ("kind", "given", "option"),
    [
        ("parallel", {"arguments_init": {}}, "--args-init"),
        ("non_parallel", {"arguments_init": {"a": 1}}, "--args-init"),
        ("parallel", {"needs_init": PartNeeds(mem=1)}, "--need-init"),
        ("converter_non_parallel", {"needs_compute": PartNeeds(mem=1)}, "--need-compute"),
        ("converter_compound", {"zarr_urls": ["/a"]}, "--zarr-url"),
        ("converter_non_parallel", {"zarr_urls": ["/a"]}, "--zarr-url"),
        ("parallel", {"zarr_dir": "/d"}, "--zarr-dir"),
    ],
)
def test_an_option_that_a_task_of_its_type_cannot_use_is_an_error(kind: Any, given: Any, option: str) -> None:
    with pytest.raises(Invalid, match=option):
        wish(**given).run("e", "t", kind)


@pytest.mark.parametrize("text", ["/a.zarr/B/03/0\n\n/b c\r\n", '["/a.zarr/B/03/0", "/b c"]'])
def test_images_come_from_a_file_of_lines_or_a_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "images").write_text(text)
    assert read_images(str(tmp_path / "images")) == ["/a.zarr/B/03/0", "/b c"]


def test_a_file_that_is_no_list_of_images_is_said(tmp_path: Path) -> None:
    for content in (b"[1]", b"\xff"):
        (tmp_path / "images").write_bytes(content)
        with pytest.raises(Invalid, match="--zarr-urls"):
            read_images(str(tmp_path / "images"))


def test_what_a_part_needs_is_written_as_for_the_whole_and_its_batches_and_lines_too() -> None:
    texts = ["mem=2G", "needs_gpu=false", "tasks_per_job=10", "extra_lines=export A=1", "extra_lines=module load x"]
    needs = part_needs("--need-init", texts)
    assert (needs.mem, needs.needs_gpu, needs.tasks_per_job) == ("2G", False, 10)
    assert needs.extra_lines == ["export A=1", "module load x"]
    for wrong in (["mem"], ["colour=red"], ["cpus_per_task=many"]):
        with pytest.raises(Invalid):
            part_needs("--need-init", wrong)
