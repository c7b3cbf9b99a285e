"""Stoker's public client library, and its command line (`stoker.cli.main`).

from stoker import ExecutorClient, JobSubmit

async with ExecutorClient("http://127.0.0.1:8702", key) as executor:
    job = await executor.submit(JobSubmit(profile_id=..., command=["echo", "{unit}"], units=[{}, {}]))
    async for event in executor.events(job.id):
        ...
"""

from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.contracts.events import JobEvent
from stoker.contracts.jobs import Batch, Counts, Job, JobSubmit, Plan, Reason, Unit, UnitResult
from stoker.contracts.keys import AccessKey, AccessKeyCreate, NewAccessKey
from stoker.contracts.problems import FieldError
from stoker.contracts.profiles import Profile
from stoker.contracts.resources import Resource
from stoker.errors import Conflict, Forbidden, Invalid, NotFound, StokerError, Unauthorized, Unavailable

__all__ = [
    "AccessKey",
    "AccessKeyCreate",
    "Batch",
    "Conflict",
    "Counts",
    "ExecutorClient",
    "FieldError",
    "Forbidden",
    "Invalid",
    "Job",
    "JobEvent",
    "JobSubmit",
    "NewAccessKey",
    "NotFound",
    "Plan",
    "PollerClient",
    "Profile",
    "Reason",
    "RegistryClient",
    "Resource",
    "StokerError",
    "Unauthorized",
    "Unavailable",
    "Unit",
    "UnitResult",
]
