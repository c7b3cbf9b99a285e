import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.slurm.requests.memory import read_bytes
from shared.slurm.requests.times import UNLIMITED, format_limit, parse_limit, read_duration, read_limit, read_moment
from stoker.errors import Invalid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("30:15", 1815),
        ("12:30:15", 45015),
        ("2-12", 216000),
        ("2-12:30", 217800),
        ("2-12:30:15", 217815),
        ("90:00", 5400),
        ("UNLIMITED", UNLIMITED),
        ("infinite", UNLIMITED),
        ("0", UNLIMITED),
    ],
)
def test_every_way_to_write_a_time_limit_is_understood(text: str, seconds: float | None) -> None:
    assert parse_limit(text) == seconds


@pytest.mark.parametrize("text", ["", " 30", "30s", "1h", "-1", "1-", "1.5", "1:2:3:4", "soon", "٣"])
def test_anything_else_is_refused_with_the_valid_forms(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_limit(text, "needs.time")
    assert caught.value.errors[0].path == "needs.time"
    assert "12:00:00" in caught.value.errors[0].message


@given(st.one_of(st.integers(1, 10**8), st.just(math.inf)))
def test_a_limit_that_was_written_reads_as_the_same_seconds(seconds: float | None) -> None:
    assert parse_limit(format_limit(seconds)) == seconds


def test_seconds_are_rounded_up_so_that_no_limit_becomes_shorter() -> None:
    assert format_limit(59.2) == "0-00:01:00"


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:01.234", 1.234), ("1-02:03:04", 93784), ("03:04", 184), ("", None), ("INVALID", None)]
)
def test_times_used_are_read(text: str, seconds: float | None) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1795478508", 1795478508),
        ("2026-11-24T00:01:48", 1795478508),
        ("N/A", None),
        ("Unknown", None),
        ("None", None),
    ],
)
def test_moments_are_read_in_both_forms(text: str, moment: float | None) -> None:
    assert read_moment(text) == moment


@pytest.mark.parametrize(
    ("text", "size"), [("3100K", 3174400), ("1.5M", 1572864), ("7", 7), ("", None), ("many", None)]
)
def test_memory_used_is_read_in_binary_units(text: str, size: int | None) -> None:
    assert read_bytes(text) == size


@given(st.text())
def test_nothing_that_slurm_may_print_makes_a_reader_raise(text: str) -> None:
    for read in (read_limit, read_duration, read_moment, read_bytes):
        read(text)
