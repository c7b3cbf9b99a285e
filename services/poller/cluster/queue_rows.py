"""From rows of a queue to what its readers are shown."""

from collections.abc import Collection
from datetime import UTC, datetime

from shared.slurm.answers.native_ids import JobId
from shared.slurm.answers.queue import QueueRow
from shared.slurm.answers.reasons import pending_reason
from stoker.contracts.queues import QueueEntry


def queue_entry(row: QueueRow, *, usernames: Collection[str] | None) -> QueueEntry:
    """Show one row. Of jobs of users not in `usernames` it stays untold whose they are (None: all is told)."""
    told = usernames is None or row.user in usernames
    waits = row.state.kind == "pending"
    return QueueEntry(
        native_id=_written(row.id),
        launches=max(1, sum(len(tasks) for tasks in row.id.tasks)),
        state=row.state.word,
        waits=waits,
        reason="" if row.reason == "None" and not waits else pending_reason(row.reason),
        partition=row.partition,
        nodes=row.nodes,
        cpus=row.cpus,
        memory=row.memory,
        gres=row.gres,
        submitted_at=_moment(row.submit),
        starts_at=_moment(row.start),
        ends_at=_moment(row.end),
        user=row.user if told else None,
        account=row.account if told else None,
        name=row.name if told else None,
    )


def _written(job: JobId) -> str:
    if job.native_id is not None:
        return job.native_id
    ranges = [_range(tasks) for tasks in job.tasks] + ["..."] * job.truncated
    return f"{job.job}_[{','.join(ranges)}]"


def _range(tasks: range) -> str:
    if len(tasks) == 1:
        return str(tasks.start)
    step = f":{tasks.step}" if tasks.step != 1 else ""
    return f"{tasks.start}-{tasks[-1]}{step}"


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
