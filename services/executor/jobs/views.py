"""Rows as callers see them, to be encoded at once: JSON that a column holds is passed on as it is, never decoded.

Pages are made of hundreds of rows, so what is done for each of them is what reading costs.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from services.executor.model.json_text import decode_reason
from stoker.contracts.jobs import Attempt, Batch, Counts, Job, Unit, UnitResult

# JSON of a column in the place of a value: encoding passes it on.
_raw: Callable[[str], Any] = msgspec.Raw
_utc = datetime.fromtimestamp
_JOB_COLUMNS = 25
_UNIT_COLUMNS = 15
_RESULT_COLUMNS = 4


def moment(seconds: float | None) -> datetime | None:
    """Epoch seconds as UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def show_job(row: Row[Any]) -> Job:
    """A job from the columns `repositories.jobs.SHOWN`, by their order: names cost twice as much."""
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
    ) = row[:_JOB_COLUMNS]
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


def show_batch(row: Row[Any], counts: Counts) -> Batch:
    """One batch with the counts of its units."""
    return Batch(
        id=row.id,
        index=row.batch_index,
        state=row.state,
        unit_count=row.unit_count,
        parallel=row.parallel,
        counts=counts,
        native_id=row.native_id,
        host=row.host,
        reason=decode_reason(row.reason),
        waiting_for=row.note,
        estimated_start=moment(row.estimated_start),
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
        cpu_seconds=row.cpu_seconds,
        peak_memory_bytes=row.peak_memory_bytes,
    )


def show_attempt(row: Row[Any]) -> Attempt:
    """An attempt that another one followed."""
    return Attempt(
        attempt=row.attempt,
        batch_index=row.batch_index,
        state=row.state,
        exit_code=row.exit_code,
        signal=row.signal,
        reason=decode_reason(row.reason),
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
        peak_memory_bytes=row.peak_memory_bytes,
        cpu_seconds=row.cpu_seconds,
    )


def show_unit(row: Row[Any]) -> Unit:
    """A unit from the columns `repositories.unit_pages.SHOWN`, by their order."""
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
    ) = row[:_UNIT_COLUMNS]
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
        started_at=None if started_at is None else _utc(started_at, UTC),
        ended_at=None if ended_at is None else _utc(ended_at, UTC),
        peak_memory_bytes=peak_memory_bytes,
        cpu_seconds=cpu_seconds,
        log_bytes=0 if log_to is None or log_from is None else log_to - log_from,
    )


def show_result(row: Row[Any]) -> UnitResult:
    """One line of a job's results."""
    index, state, output, reason = row[:_RESULT_COLUMNS]
    return UnitResult(
        index=index,
        state=state,
        output=None if output is None else _raw(output),
        reason=None if reason is None else _raw(reason),
    )
