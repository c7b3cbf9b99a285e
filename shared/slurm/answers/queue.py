"""squeue: one query per cluster tells of all jobs of all users."""

import msgspec

from shared.slurm.answers.native_ids import JobId, array_job, read_job_id
from shared.slurm.answers.rows import read_whole_number, separator, split_rows
from shared.slurm.answers.states import SlurmState, read_state
from shared.slurm.requests.times import read_limit, read_moment

# First and last are fields that SLURM fills in itself (see rows). Text of users stands between them.
_FIELDS = tuple(f"%{letter}" for letter in "iUuTVSelPNCmbarjkA")


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the queue: a launch, or the tasks of one array that still wait.

    Times are epoch seconds by the cluster's clock; `start` is an estimate while `state` is pending. `submit` moves
    when SLURM requeues. `limit_seconds` is infinite without a limit and None where SLURM does not say.
    """

    id: JobId
    uid: int | None
    user: str
    state: SlurmState
    submit: float | None
    start: float | None
    end: float | None
    limit_seconds: float | None
    partition: str
    nodes: str
    cpus: int | None
    memory: str
    gres: str
    account: str
    reason: str
    name: str
    comment: str


class Queue(msgspec.Struct, frozen=True):
    """The rows of one successful query. `broken` rows could not be read: with any of them, absence is no evidence."""

    rows: list[QueueRow]
    broken: int = 0
    noise: int = 0

    @property
    def whole(self) -> bool:
        """Whether what is not in it was not in the queue."""
        return self.broken == 0 and not any(row.id.truncated for row in self.rows)

    def of(self, native_id: str) -> list[QueueRow]:
        """Return the rows that are about a launch; more than one only while SLURM moves a task out of its array."""
        job = array_job(native_id)
        rows = [row for row in self.rows if row.id.job == job]
        exact = [row for row in rows if row.id.covers(native_id)]
        return exact or [row for row in rows if row.id.may_cover(native_id)]


def squeue_arguments(nonce: str) -> list[str]:
    """Return the arguments of squeue. Call it with `calls.QUERY_ENVIRONMENT`; any exit code but 0 is no answer.

    `--all`: without it, jobs in partitions that are hidden, or closed to the asking user, are left out.
    """
    return ["--noheader", "--all", "--states=all", f"--format={separator(nonce).join(_FIELDS)}"]


def read_queue(text: str, nonce: str) -> Queue:
    """Read squeue's answer to `squeue_arguments(nonce)`. Never raises."""
    found = split_rows(text, nonce, len(_FIELDS))
    rows = [row for fields in found.rows if (row := _read(fields)) is not None]
    return Queue(rows, found.broken + len(found.rows) - len(rows), found.noise)


def _read(fields: list[str]) -> QueueRow | None:
    job_id = read_job_id(fields[0].strip())
    if job_id is None:
        return None
    return QueueRow(
        id=job_id,
        uid=read_whole_number(fields[1]),
        user=fields[2],
        state=read_state(fields[3]),
        submit=read_moment(fields[4]),
        start=read_moment(fields[5]),
        end=read_moment(fields[6]),
        limit_seconds=read_limit(fields[7]),
        partition=fields[8],
        nodes=fields[9],
        cpus=read_whole_number(fields[10]),
        memory=fields[11],
        gres="" if fields[12].upper() == "N/A" else fields[12],
        account="" if fields[13] == "(null)" else fields[13],
        reason=fields[14],
        name=fields[15],
        comment="" if fields[16] == "(null)" else fields[16],
    )
