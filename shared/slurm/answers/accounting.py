"""sacct: what became of jobs, where the cluster keeps accounts. It lags by seconds, and remembers for long."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from shared.slurm.answers.native_ids import JobId, read_job_id
from shared.slurm.answers.rows import read_whole_number, separator, split_rows
from shared.slurm.answers.states import SlurmState, read_state
from shared.slurm.requests.memory import read_bytes
from shared.slurm.requests.times import read_duration, read_limit, read_moment

# First and last are fields that SLURM fills in itself (see rows). Text of users stands between them.
_FIELDS = (
    "JobID",
    "UID",
    "User",
    "State",
    "ExitCode",
    "Submit",
    "Start",
    "End",
    "TimelimitRaw",
    "NodeList",
    "AllocCPUS",
    "MaxRSS",
    "TotalCPU",
    "Partition",
    "Account",
    "JobName",
    "Comment",
    "JobIDRaw",
)
_EXIT = re.compile(r"(\d{1,3}):(\d{1,3})", re.ASCII)


class AccountingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a launch; a requeued launch has several rows. Times are epoch seconds by the cluster's clock.

    `peak_memory_bytes` and `cpu_seconds` are what its steps used at most and in all. `state` is the run's own; the
    OUT_OF_MEMORY of a step replaces a plain FAILED.
    """

    id: JobId
    uid: int | None
    user: str
    state: SlurmState
    exit_code: int | None
    exit_signal: int | None
    submit: float | None
    start: float | None
    end: float | None
    limit_seconds: float | None
    nodes: str
    cpus: int | None
    partition: str
    account: str
    name: str
    comment: str
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None


class Accounting(msgspec.Struct, frozen=True):
    """The rows of one successful query, oldest first for each launch."""

    rows: list[AccountingRow]
    broken: int = 0
    noise: int = 0

    def of(self, native_id: str) -> list[AccountingRow]:
        """Return the runs that are recorded under this id: requeues, and other jobs that had it before."""
        exact = [row for row in self.rows if row.id.covers(native_id)]
        return exact or [row for row in self.rows if row.id.may_cover(native_id)]


def sacct_arguments(nonce: str, *, since: float, names: Iterable[str] = (), job_ids: Iterable[int] = ()) -> list[str]:
    """Return the arguments of sacct: jobs since `since` (epoch seconds), those with these names or job numbers.

    Call it with `calls.QUERY_ENVIRONMENT`; any exit code but 0 is no answer. All users' jobs are asked for, as far as
    the cluster shows them. A job that was cancelled while it was held is recorded without its name and user: neither
    a query by name nor a look at the row finds it, and only the queue tells of its end.
    """
    start = datetime.fromtimestamp(math.floor(since), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    arguments = [
        "--noheader",
        "--parsable2",
        "--allusers",
        "--duplicates",
        f"--starttime={start}",
        f"--delimiter={separator(nonce)}",
        f"--format={','.join(_FIELDS)}",
    ]
    if wanted := ",".join(names):
        arguments.append(f"--name={wanted}")
    if numbers := ",".join(str(job_id) for job_id in job_ids):
        arguments.append(f"--jobs={numbers}")
    return arguments


def read_accounting(text: str, nonce: str) -> Accounting:
    """Read sacct's answer to `sacct_arguments(nonce, …)`. Never raises."""
    found = split_rows(text, nonce, len(_FIELDS))
    rows: list[AccountingRow] = []
    broken = found.broken
    for fields in found.rows:
        row = _read(fields)
        if row is None:
            broken += 1
        elif not row.id.step:
            rows.append(row)
        elif rows and _same_job(rows[-1].id, row.id):
            # Steps follow the run that they belong to.
            rows[-1] = _with_step(rows[-1], row)
        else:
            broken += 1
    rows.sort(key=lambda row: (row.submit or 0.0, row.start or 0.0))
    return Accounting(rows, broken, found.noise)


def _read(fields: list[str]) -> AccountingRow | None:
    job_id = read_job_id(fields[0].strip())
    if job_id is None:
        return None
    exits = _EXIT.fullmatch(fields[4])
    return AccountingRow(
        id=job_id,
        uid=read_whole_number(fields[1]),
        user=fields[2],
        state=read_state(fields[3]),
        exit_code=int(exits[1]) if exits else None,
        exit_signal=int(exits[2]) if exits else None,
        submit=read_moment(fields[5]),
        start=read_moment(fields[6]),
        end=read_moment(fields[7]),
        limit_seconds=read_limit(fields[8]),
        nodes="" if fields[9] == "None assigned" else fields[9],
        cpus=read_whole_number(fields[10]),
        peak_memory_bytes=read_bytes(fields[11]),
        cpu_seconds=read_duration(fields[12]),
        partition=fields[13],
        account=fields[14],
        name=fields[15],
        comment=fields[16],
    )


def _with_step(run: AccountingRow, step: AccountingRow) -> AccountingRow:
    peaks = [peak for peak in (run.peak_memory_bytes, step.peak_memory_bytes) if peak is not None]
    out_of_memory = run.state.word == "FAILED" and step.state.word == "OUT_OF_MEMORY"
    return msgspec.structs.replace(
        run,
        state=step.state if out_of_memory else run.state,
        peak_memory_bytes=max(peaks, default=None),
        cpu_seconds=run.cpu_seconds if run.cpu_seconds is not None else step.cpu_seconds,
    )


def _same_job(run: JobId, step: JobId) -> bool:
    return run.job == step.job and run.tasks == step.tasks
