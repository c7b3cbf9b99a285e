"""What a job's row keeps of its submit call and of where it was accepted, decoded once for all that look at it."""

from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Row

from shared.contracts.holds import Connection
from shared.contracts.jobs import JobSubmit
from shared.contracts.needs import Retries


class StoredSubmit(JobSubmit, forbid_unknown_fields=False, kw_only=True):
    """A submit call without its units and files."""

    units: list[dict[str, Any]] = []  # noqa: RUF012 - msgspec makes a new one each time


def submit_of(job: Row[Any]) -> StoredSubmit:
    """The submit call of a job (a row with `spec`)."""
    return _submit(job.spec)


def connection_of(job: Row[Any]) -> Connection:
    """Resource and profile as they were when the job was accepted (a row with `snapshot`)."""
    return _connection(job.snapshot)


def retries_of(job: Row[Any]) -> Retries:
    """How the units of a job are tried again; not at all once it is to be cancelled."""
    return Retries() if job.cancel_requested_at is not None else submit_of(job).retries


@lru_cache(maxsize=1024)
def _submit(text: str) -> StoredSubmit:
    return msgspec.json.decode(text, type=StoredSubmit)


@lru_cache(maxsize=1024)
def _connection(text: str) -> Connection:
    return msgspec.json.decode(text, type=Connection)
