"""The units of a job from a file: JSON (a list of objects), JSON lines, or CSV (a header, then a unit per row)."""

import csv
import io
from enum import StrEnum
from pathlib import PurePath
from typing import Any

import msgspec

from stoker.cli.documents import read_bytes
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

Units = list[dict[str, Any]]


class UnitsFormat(StrEnum):
    """How units are written."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def read_units(source: str, form: UnitsFormat | None = None) -> Units:
    """Read the units of a file (`-`: standard input). Without `form`, the ending or the first character tells it."""
    content = read_bytes(source)
    name = "standard input" if source == "-" else source
    return parse_units(content, form or _guessed(source, content), name)


def parse_units(content: bytes, form: UnitsFormat, name: str) -> Units:
    """Return the units; raises Invalid with the place of what is wrong."""
    try:
        match form:
            case UnitsFormat.JSON:
                units = msgspec.json.decode(content, type=Units)
            case UnitsFormat.JSONL:
                units = _from_lines(content, name)
            case UnitsFormat.CSV:
                units = _from_table(content, name)
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8 text: {error}") from error
    except msgspec.DecodeError as error:
        raise Invalid(f"{name} is not a JSON list of objects, one per unit: {error}") from error
    if not units:
        raise Invalid(f"{name} has no units")
    return units


def _guessed(source: str, content: bytes) -> UnitsFormat:
    ending = PurePath(source).suffix.lower().lstrip(".")
    if ending == "ndjson":
        return UnitsFormat.JSONL
    if ending in list(UnitsFormat):
        return UnitsFormat(ending)
    if content.lstrip()[:1] == b"[":
        return UnitsFormat.JSON
    if content.lstrip()[:1] == b"{":
        return UnitsFormat.JSONL
    raise Invalid("it is not clear how the units are written: add --units-format json, jsonl or csv")


def _from_lines(content: bytes, name: str) -> Units:
    decoder = msgspec.json.Decoder(dict[str, Any])
    units: Units = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            units.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            where = FieldError(f"line {number}", f"must be a JSON object, the arguments of one unit ({error})")
            raise Invalid(f"{name} is not JSON lines", [where]) from error
    return units


def _from_table(content: bytes, name: str) -> Units:
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    try:
        header = next(rows, [])
        if len(set(header)) != len(header) or not all(header):
            raise Invalid(f"{name} needs a first row with a different name in each column")
        units: Units = []
        for row in rows:
            if row and len(row) != len(header):
                where = FieldError(f"line {rows.line_num}", f"must have {len(header)} columns, has {len(row)}")
                raise Invalid(f"{name} is not a table", [where])
            if row:
                units.append(dict(zip(header, row, strict=True)))
    except csv.Error as error:
        raise Invalid(f"{name} is not CSV: line {rows.line_num}: {error}") from error
    return units
