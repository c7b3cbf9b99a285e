"""Who sees jobs."""

from services.executor.repositories.rows import JobSource
from stoker.contracts.jobs import Job
from stoker.contracts.keys import Caller


def may_see(caller: Caller, job: JobSource | Job) -> bool:
    """Whether a job exists for this caller: users see the jobs of their key's owner."""
    return caller.role != "user" or job.owner == caller.owner
