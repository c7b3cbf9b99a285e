import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.slurm.requests.memory import parse_memory
from stoker.errors import Invalid


@pytest.mark.parametrize(
    ("written", "megabytes"),
    [("93", 93), ("71M", 71), ("3G", 3000), ("2T", 2_000_000), (1, 1), (8000, 8000)],
)
def test_memory_is_decimal_megabytes(written: int | str, megabytes: int) -> None:
    assert parse_memory(written) == megabytes


@pytest.mark.parametrize(
    "written",
    ["1g", "1.5G", "0", "12K", " 3G", "3G ", "", "G", "-1", "3GB", "1e3", "\u0663G", "3G\n", 0, -5, "0T", True],
)
def test_other_forms_are_refused_and_the_valid_ones_shown(written: int | str) -> None:
    with pytest.raises(Invalid, match="3G"):
        parse_memory(written)


@given(st.integers(1, 10**9), st.sampled_from([("", 1), ("M", 1), ("G", 1000), ("T", 1_000_000)]))
def test_a_number_with_a_unit_is_that_many_units(number: int, unit: tuple[str, int]) -> None:
    assert parse_memory(f"{number}{unit[0]}") == number * unit[1]


@given(st.text())
def test_any_text_is_either_an_amount_or_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert parse_memory(text) > 0
