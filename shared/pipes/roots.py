"""The folders that an agent may touch, as they follow from resource and profile."""

from stoker.contracts.holds import Connection
from stoker.contracts.profiles import SlurmSshProfileSpec, SlurmSudoProfileSpec
from stoker.contracts.resources import LocalResourceSpec
from stoker.errors import Invalid

JOBS = "jobs"
JOBS_BELOW_HOME = "~/stoker/jobs"
TASKS = "tasks"


def roots_of(connection: Connection) -> dict[str, str]:
    """Name to absolute path (or `~/…`, below the agent's own home)."""
    spec = connection.resource.spec
    if isinstance(spec, LocalResourceSpec):
        return {JOBS: spec.jobs_local_dir}
    profile = connection.profile.spec
    if isinstance(profile, SlurmSudoProfileSpec):
        return {JOBS: profile.jobs_remote_dir or JOBS_BELOW_HOME}
    if isinstance(profile, SlurmSshProfileSpec):
        return {JOBS: profile.jobs_remote_dir, TASKS: profile.tasks_remote_dir}
    raise Invalid(f"resources of type {connection.resource.type} cannot be reached yet")
