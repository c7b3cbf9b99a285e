"""What a job's row keeps of its submit call and of where it was accepted, decoded once for all that look at it."""

from functools import lru_cache
from typing import Any

import msgspec

from services.executor.repositories.rows import JobRow, JobSource
from stoker.contracts.holds import Connection
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.needs import Needs, Retries, SchedulingRequest

_REQUEUED_AFTER = frozenset({"node_failure", "preempted"})


class StoredPhase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase of a task's job. `slots`: how many of its units run at once on a local resource.

    `complete`: lines and division into batches are the phase's own, and go before the call's.
    """

    command: list[str]
    needs: Needs = Needs()
    slots: int = 1
    complete: bool = False
    extra_lines: list[str] = []
    tasks_per_job: int | None = None
    parallel_tasks_per_job: int | None = None


class StoredSubmit(JobSubmit, forbid_unknown_fields=False, kw_only=True):
    """A submit call without its units, files and task; what came of the task is in `phases`, one for each."""

    phases: list[StoredPhase] = []  # noqa: RUF012 - msgspec makes a new one each time
    environment_id: str | None = None
    task_name: str | None = None
    arguments_parallel: dict[str, Any] = {}  # noqa: RUF012 - the same
    """What every compute unit of a compound task gets."""


def submit_of(job: JobSource, phase: int = 0) -> StoredSubmit:
    """The submit call of a job, with what one of its phases has of its own."""
    return _submit(job.spec, phase)


def connection_of(job: JobSource) -> Connection:
    """Resource and profile as they were when the job was accepted."""
    return _connection(job.snapshot)


def retries_of(job: JobRow) -> Retries:
    """How the units of a job are tried again; not at all once it is to be cancelled."""
    return Retries() if job.cancel_requested_at is not None else submit_of(job).retries


def max_restarts(request: SchedulingRequest) -> int:
    """How often SLURM may start a batch again by itself: as often as units may be tried again for its reasons."""
    return request.retries.count if request.retries.on & _REQUEUED_AFTER else 0


def of_phase(submit: StoredSubmit, phase: int) -> StoredSubmit:
    """The call with what one of its phases has of its own."""
    one = submit.phases[phase]
    found = msgspec.structs.replace(submit, command=one.command, needs=one.needs)
    if not one.complete:
        return found
    return msgspec.structs.replace(
        found,
        extra_lines=one.extra_lines,
        tasks_per_job=one.tasks_per_job,
        parallel_tasks_per_job=one.parallel_tasks_per_job,
    )


@lru_cache(maxsize=1024)
def _submit(text: str, phase: int) -> StoredSubmit:
    found = msgspec.json.decode(text, type=StoredSubmit)
    if not found.phases:
        return found
    return of_phase(found, phase)


@lru_cache(maxsize=1024)
def _connection(text: str) -> Connection:
    return msgspec.json.decode(text, type=Connection)
