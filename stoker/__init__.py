"""Stoker's public client library, and its command line (`stoker.cli.main`).

from stoker import ExecutorClient, JobSubmit

async with ExecutorClient("http://127.0.0.1:8702", key) as executor:
    job = await executor.submit(JobSubmit(profile_id=..., command=["echo", "{unit}"], units=[{}, {}]))
    async for event in executor.events(job.id):
        ...

Everything that the methods of the clients take and give can be imported from here.
"""

from stoker.clients import ExecutorClient, PollerClient, RegistryClient
from stoker.clients.registry import ProfileBody, ResourceBody
from stoker.contracts.checks import CheckReport, Finding
from stoker.contracts.environments import (
    FINAL_ACTIVITY_STATES,
    Activity,
    ActivityKind,
    ActivityState,
    Environment,
    EnvironmentCreate,
    EnvironmentFromExisting,
    EnvironmentFromPixi,
    EnvironmentFromPypi,
    EnvironmentFromWheel,
    EnvironmentState,
    Freeze,
    Source,
)
from stoker.contracts.events import FailedUnit, JobEvent
from stoker.contracts.holds import Connection, Hold
from stoker.contracts.jobs import (
    FINAL_JOB_STATES,
    FINAL_UNIT_STATES,
    Attempt,
    Batch,
    BatchState,
    Counts,
    Job,
    JobState,
    JobSubmit,
    Plan,
    PlannedBatch,
    Reason,
    ReasonCode,
    Unit,
    UnitResult,
    UnitState,
)
from stoker.contracts.keys import AccessKey, AccessKeyCreate, AccessKeyPatch, Caller, NewAccessKey, Role
from stoker.contracts.needs import Needs, PartNeeds, Retries, RetryReason
from stoker.contracts.pages import Page
from stoker.contracts.problems import FieldError
from stoker.contracts.profiles import (
    LocalProfileSpec,
    Profile,
    ProfileSpec,
    SlurmSshProfileSpec,
    SlurmSudoProfileSpec,
)
from stoker.contracts.queues import ClusterQueue, QueueEntry
from stoker.contracts.resources import (
    BatchingConfig,
    BuildSlurmConfig,
    LocalResourceSpec,
    LocalRunnerConfig,
    PythonConfig,
    Resource,
    ResourceSpec,
    ResourceType,
    SlurmConfig,
    SlurmRunnerConfig,
    SlurmSshResourceSpec,
    SlurmSudoResourceSpec,
)
from stoker.contracts.ssh import SshHostKey, SshHostKeys, SshTrust
from stoker.contracts.tasks import Task, TaskRun, TaskType
from stoker.contracts.usage import ResourceUsage, Usage
from stoker.contracts.watches import (
    BatchWatch,
    ProfileWatch,
    ResourceHealth,
    WatchedBatch,
    WatchedProfile,
    Watches,
    WatchList,
)
from stoker.errors import Conflict, Forbidden, Invalid, NotFound, StokerError, Unauthorized, Unavailable
from stoker.secrets import Secret

__all__ = [
    "FINAL_ACTIVITY_STATES",
    "FINAL_JOB_STATES",
    "FINAL_UNIT_STATES",
    "AccessKey",
    "AccessKeyCreate",
    "AccessKeyPatch",
    "Activity",
    "ActivityKind",
    "ActivityState",
    "Attempt",
    "Batch",
    "BatchState",
    "BatchWatch",
    "BatchingConfig",
    "BuildSlurmConfig",
    "Caller",
    "CheckReport",
    "ClusterQueue",
    "Conflict",
    "Connection",
    "Counts",
    "Environment",
    "EnvironmentCreate",
    "EnvironmentFromExisting",
    "EnvironmentFromPixi",
    "EnvironmentFromPypi",
    "EnvironmentFromWheel",
    "EnvironmentState",
    "ExecutorClient",
    "FailedUnit",
    "FieldError",
    "Finding",
    "Forbidden",
    "Freeze",
    "Hold",
    "Invalid",
    "Job",
    "JobEvent",
    "JobState",
    "JobSubmit",
    "LocalProfileSpec",
    "LocalResourceSpec",
    "LocalRunnerConfig",
    "Needs",
    "NewAccessKey",
    "NotFound",
    "Page",
    "PartNeeds",
    "Plan",
    "PlannedBatch",
    "PollerClient",
    "Profile",
    "ProfileBody",
    "ProfileSpec",
    "ProfileWatch",
    "PythonConfig",
    "QueueEntry",
    "Reason",
    "ReasonCode",
    "RegistryClient",
    "Resource",
    "ResourceBody",
    "ResourceHealth",
    "ResourceSpec",
    "ResourceType",
    "ResourceUsage",
    "Retries",
    "RetryReason",
    "Role",
    "Secret",
    "SlurmConfig",
    "SlurmRunnerConfig",
    "SlurmSshProfileSpec",
    "SlurmSshResourceSpec",
    "SlurmSudoProfileSpec",
    "SlurmSudoResourceSpec",
    "Source",
    "SshHostKey",
    "SshHostKeys",
    "SshTrust",
    "StokerError",
    "Task",
    "TaskRun",
    "TaskType",
    "Unauthorized",
    "Unavailable",
    "Unit",
    "UnitResult",
    "UnitState",
    "Usage",
    "WatchList",
    "WatchedBatch",
    "WatchedProfile",
    "Watches",
]
