"""What leaves the executor's repositories has the types that the columns have."""

import types
import typing

import pytest
from sqlalchemy import Table

from services.executor.repositories import rows, tables

TABLES = {
    rows.JobSource: (tables.jobs,),
    rows.JobRow: (tables.jobs,),
    rows.BatchRow: (tables.batches,),
    rows.LaunchedBatch: (tables.batches, tables.jobs),
    rows.UnitLogRow: (tables.units,),
    rows.UnitArguments: (tables.units,),
    rows.UnitOutcome: (tables.units,),
    rows.StoredFile: (tables.job_files, tables.environment_files),
    rows.EnvironmentRow: (tables.environments,),
    rows.ActivityJob: (tables.jobs,),
    rows.TaskRow: (tables.tasks, tables.environments),
    rows.HoldRow: (tables.profile_holds,),
}
# Conditions of the queries that make them say that these are there.
NEVER_NULL = {("LaunchedBatch", "native_id"), ("ActivityJob", "environment_id")}


@pytest.mark.parametrize("row", TABLES, ids=lambda row: row.__name__)
def test_a_field_has_the_type_of_its_column(row: type[rows.TypedRow]) -> None:
    for name, annotation in typing.get_type_hints(row).items():
        column = next(table.c[name] for table in _of(row) if name in table.c)
        nullable = column.nullable and (row.__name__, name) not in NEVER_NULL
        assert _plain(annotation) == {column.type.python_type} | ({type(None)} if nullable else set()), name


def test_every_row_is_held_against_its_table() -> None:
    assert set(TABLES) | {rows.ActivityRow} == _below(rows.TypedRow)


def _of(row: type[rows.TypedRow]) -> tuple[Table, ...]:
    return TABLES[row]


def _below(base: type) -> set[type]:
    return {found for one in base.__subclasses__() for found in {one, *_below(one)}}


def _plain(annotation: object) -> set[type]:
    """Return the types that a value may have; of literals, those of their values."""
    if typing.get_origin(annotation) is typing.Literal:
        return {type(value) for value in typing.get_args(annotation)}
    if typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        return {one for part in typing.get_args(annotation) for one in _plain(part)}
    assert isinstance(annotation, type)
    return {annotation}
