"""Rows as callers see them. JSON that a column holds is passed on as it is, never decoded."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from services.executor.repositories.progress import counts_of, decode_reason
from shared.contracts.jobs import Batch, Counts, Job, Unit, UnitResult

_command = msgspec.json.Decoder(list[str]).decode
_NULL = msgspec.Raw(b"null")


def moment(seconds: float | None) -> datetime | None:
    """Epoch seconds as UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def show_job(row: Row[Any]) -> Job:
    """A job from the columns `repositories.jobs.SHOWN`."""
    return Job(
        id=row.id,
        name=row.name,
        state=row.state,
        profile_id=row.profile_id,
        resource_id=row.resource_id,
        owner=row.owner,
        command=_command(row.command),
        unit_count=row.unit_count,
        counts=counts_of(row),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        updated_at=datetime.fromtimestamp(row.updated_at, UTC),
        reason=decode_reason(row.reason),
        waiting_for=row.waiting_for,
        cancel_requested_at=moment(row.cancel_requested_at),
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
        folder=row.folder,
        disk_bytes=row.disk_bytes,
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
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
    )


def show_unit(row: Row[Any]) -> Unit:
    """A unit from the columns `repositories.unit_pages.SHOWN`."""
    return Unit(
        index=row.unit_index,
        state=row.state,
        arguments=_raw(row.arguments),
        attempt=row.attempt,
        batch_index=row.batch_index,
        output=_raw(row.output),
        exit_code=row.exit_code,
        signal=row.signal,
        reason=decode_reason(row.reason),
        started_at=moment(row.started_at),
        ended_at=moment(row.ended_at),
        peak_memory_bytes=row.peak_memory_bytes,
        cpu_seconds=row.cpu_seconds,
        log_bytes=0 if row.log_to is None or row.log_from is None else row.log_to - row.log_from,
    )


def show_result(row: Row[Any]) -> UnitResult:
    """One line of a job's results."""
    return UnitResult(
        index=row.unit_index, state=row.state, output=_raw(row.output), reason=decode_reason(row.reason)
    )


def _raw(text: str | None) -> Any:
    return _NULL if text is None else msgspec.Raw(text)
