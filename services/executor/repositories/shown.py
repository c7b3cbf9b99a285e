"""Rows of jobs and units as callers see them: JSON that a column holds is passed on as it is, never decoded.

Pages are made of hundreds of rows, so what is done for each of them is what reading costs: columns are taken by their
order, since names cost twice as much. Outside of this room rows have types.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from services.executor.model.json_text import decode_reason
from services.executor.model.moments import moment
from services.executor.repositories.tables import jobs, units
from stoker.contracts.jobs import Counts, Job, Unit, UnitResult

# JSON of a column in the place of a value: encoding passes it on.
_raw: Callable[[str], Any] = msgspec.Raw
_utc = datetime.fromtimestamp
# What callers see of a job; the large columns `spec` and `snapshot` stay where they are.
JOB = tuple(
    jobs.c[name]
    for name in (
        "id",
        "name",
        "state",
        "owner",
        "profile_id",
        "resource_id",
        "environment_id",
        "task",
        "command",
        "folder",
        "unit_count",
        "waiting",
        "running",
        "succeeded",
        "failed",
        "cancelled",
        "lost",
        "reason",
        "waiting_for",
        "cancel_requested_at",
        "created_at",
        "updated_at",
        "started_at",
        "ended_at",
        "disk_bytes",
    )
)
UNIT = tuple(
    units.c[name]
    for name in (
        "unit_index",
        "arguments",
        "attempt",
        "batch_index",
        "state",
        "exit_code",
        "signal",
        "reason",
        "output",
        "started_at",
        "ended_at",
        "peak_memory_bytes",
        "cpu_seconds",
        "log_from",
        "log_to",
    )
)
RESULT = (units.c.unit_index, units.c.state, units.c.output, units.c.reason)


def show_job(row: Row[Any]) -> Job:
    """A job from the columns of `JOB`."""
    (
        job_id,
        name,
        state,
        owner,
        profile_id,
        resource_id,
        environment_id,
        task,
        command,
        folder,
        unit_count,
        waiting,
        running,
        succeeded,
        failed,
        cancelled,
        lost,
        reason,
        waiting_for,
        cancel_requested_at,
        created_at,
        updated_at,
        started_at,
        ended_at,
        disk_bytes,
    ) = row[: len(JOB)]
    return Job(
        id=job_id,
        name=name,
        state=state,
        profile_id=profile_id,
        resource_id=resource_id,
        owner=owner,
        command=_raw(command),
        unit_count=unit_count,
        counts=Counts(
            waiting=waiting, running=running, succeeded=succeeded, failed=failed, cancelled=cancelled, lost=lost
        ),
        created_at=_utc(created_at, UTC),
        updated_at=_utc(updated_at, UTC),
        reason=decode_reason(reason),
        waiting_for=waiting_for,
        cancel_requested_at=None if cancel_requested_at is None else _utc(cancel_requested_at, UTC),
        started_at=None if started_at is None else _utc(started_at, UTC),
        ended_at=None if ended_at is None else _utc(ended_at, UTC),
        folder=folder,
        disk_bytes=disk_bytes,
        environment_id=environment_id,
        task=task,
    )


def show_unit(row: Row[Any]) -> Unit:
    """A unit from the columns of `UNIT`."""
    (
        index,
        arguments,
        attempt,
        batch_index,
        state,
        exit_code,
        signal,
        reason,
        output,
        started_at,
        ended_at,
        peak_memory_bytes,
        cpu_seconds,
        log_from,
        log_to,
    ) = row[: len(UNIT)]
    return Unit(
        index=index,
        state=state,
        arguments=_raw(arguments),
        attempt=attempt,
        batch_index=batch_index,
        output=None if output is None else _raw(output),
        exit_code=exit_code,
        signal=signal,
        reason=None if reason is None else _raw(reason),
        started_at=moment(started_at),
        ended_at=moment(ended_at),
        peak_memory_bytes=peak_memory_bytes,
        cpu_seconds=cpu_seconds,
        log_bytes=0 if log_to is None or log_from is None else max(0, log_to - log_from),
    )


def show_result(row: Row[Any]) -> UnitResult:
    """One line of a job's results."""
    index, state, output, reason = tuple(row)
    return UnitResult(
        index=index,
        state=state,
        output=None if output is None else _raw(output),
        reason=None if reason is None else _raw(reason),
    )
