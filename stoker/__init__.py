"""Stoker's public client library, and its command line (`stoker.cli`).

from stoker import ExecutorClient, JobSubmit

async with ExecutorClient("http://127.0.0.1:8702", key) as executor:
    job = await executor.submit(JobSubmit(profile_id=..., command=["echo", "{unit}"], units=[{}, {}]))
    async for event in executor.events(job.id):
        ...
"""

from shared.clients import ExecutorClient, PollerClient, RegistryClient
from shared.contracts.events import JobEvent
from shared.contracts.jobs import Batch, Counts, Job, JobSubmit, Plan, Reason, Unit, UnitResult
from shared.contracts.keys import AccessKey, AccessKeyCreate, NewAccessKey
from shared.contracts.problems import FieldError
from shared.contracts.profiles import Profile
from shared.contracts.resources import Resource
from shared.errors import Conflict, Forbidden, Invalid, NotFound, StokerError, Unauthorized, Unavailable

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
