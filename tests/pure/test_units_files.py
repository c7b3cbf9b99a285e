import io
import sys
from pathlib import Path

import pytest

from stoker.cli.units import UnitsFormat, parse_units, read_units
from stoker.errors import Invalid


def test_a_json_list_gives_one_unit_per_object() -> None:
    assert parse_units(b'[{"n": 1}, {"n": 2}]', UnitsFormat.JSON, "x") == [{"n": 1}, {"n": 2}]


def test_json_lines_give_one_unit_per_line_and_empty_lines_none() -> None:
    content = '{"n": 1}\n\n{"word": "a\u2028b"}\r\n'.encode()
    assert parse_units(content, UnitsFormat.JSONL, "x") == [{"n": 1}, {"word": "a\u2028b"}]


def test_csv_rows_become_units_of_strings_named_by_the_header() -> None:
    content = '\ufeffname,note\nleft,"two\nlines"\n\nright,"say ""x"""\n'.encode()
    assert parse_units(content, UnitsFormat.CSV, "x") == [
        {"name": "left", "note": "two\nlines"},
        {"name": "right", "note": 'say "x"'},
    ]


@pytest.mark.parametrize(
    ("form", "content", "place"),
    [
        (UnitsFormat.JSONL, b'{"n": 1}\n[2]\n', "line 2"),
        (UnitsFormat.JSONL, b'{"n": 1}\n{"n": \n', "line 2"),
        (UnitsFormat.CSV, b"a,b\n1,2\n3\n", "line 3"),
    ],
)
def test_a_wrong_line_is_named(form: UnitsFormat, content: bytes, place: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_units(content, form, "units.file")
    assert [error.path for error in caught.value.errors] == [place]
    assert "units.file" in caught.value.message


@pytest.mark.parametrize(
    ("form", "content"),
    [
        (UnitsFormat.JSON, b'{"n": 1}'),
        (UnitsFormat.JSON, b"[1]"),
        (UnitsFormat.JSON, b"[]"),
        (UnitsFormat.JSON, b"\xff\xfe"),
        (UnitsFormat.JSONL, b"\n\n"),
        (UnitsFormat.CSV, b""),
        (UnitsFormat.CSV, b"a,b\n"),
        (UnitsFormat.CSV, b"a,a\n1,2\n"),
        (UnitsFormat.CSV, b'a\n"open\n'),
        (UnitsFormat.CSV, b"a\n\xff\n"),
    ],
)
def test_what_holds_no_units_is_refused(form: UnitsFormat, content: bytes) -> None:
    with pytest.raises(Invalid):
        parse_units(content, form, "units.file")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("units.json", b'[{"n": "1"}]'),
        ("units.jsonl", b'{"n": "1"}\n'),
        ("units.NDJSON", b'{"n": "1"}\n'),
        ("units.csv", b"n\n1\n"),
        ("units", b' [{"n": "1"}]'),
        ("units.txt", b'{"n": "1"}'),
    ],
)
def test_the_form_of_a_file_is_told_by_its_name_or_its_first_character(
    tmp_path: Path, name: str, content: bytes
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert read_units(str(file)) == [{"n": "1"}]


def test_units_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"n": 1}\n{"n": 2}\n')))
    assert read_units("-") == [{"n": 1}, {"n": 2}]


def test_a_form_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "units"
    file.write_bytes(b"n\n1\n")
    with pytest.raises(Invalid, match="--units-format"):
        read_units(str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="none"):
        read_units(str(tmp_path / "none.json"))
