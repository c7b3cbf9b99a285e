"""Who sees jobs."""

from typing import Any

from sqlalchemy import Row

from stoker.contracts.keys import Caller


def may_see(caller: Caller, job: Row[Any]) -> bool:
    """Whether a job exists for this caller: users see the jobs of their key's owner."""
    return caller.role != "user" or job.owner == caller.owner
