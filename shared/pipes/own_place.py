"""Where, and as whom, what changes environments is done: a pure function of a profile's connection."""

import msgspec
from msgspec import UNSET

from stoker.contracts.holds import Connection
from stoker.contracts.profiles import LocalProfileSpec, SlurmSudoProfileSpec
from stoker.contracts.resources import LocalResourceSpec, LocalRunnerConfig, SlurmSudoResourceSpec

_BUILDER_ID = "builder"
"""Stands for the profile: one connection does for all of a resource."""


def place_of_activities(connection: Connection) -> Connection:
    """Return the connection through which environments of the resource are made; of what it returned, the same.

    On `slurm_sudo` they belong to none of the scientists: they are made on this machine by the service's own user,
    or through the sudo pipe by the resource's `tasks_user`. Elsewhere the profile's own connection is right.
    """
    spec = connection.resource.spec
    if not isinstance(spec, SlurmSudoResourceSpec):
        return connection
    if isinstance(spec.tasks_user, str):
        profile = msgspec.structs.replace(
            connection.profile,
            id=_BUILDER_ID,
            version=1,
            spec=SlurmSudoProfileSpec(name=_BUILDER_ID, username=spec.tasks_user),
        )
        return Connection(resource=connection.resource, profile=profile)
    resource = msgspec.structs.replace(connection.resource, type="local", spec=_local(spec))
    profile = msgspec.structs.replace(
        connection.profile,
        id=_BUILDER_ID,
        version=1,
        resource_type="local",
        spec=LocalProfileSpec(name=_BUILDER_ID),
    )
    return Connection(resource=resource, profile=profile)


def _local(spec: SlurmSudoResourceSpec) -> LocalResourceSpec:
    return LocalResourceSpec(
        name=spec.name,
        jobs_local_dir=spec.jobs_local_dir,
        tasks_local_dir=spec.tasks_local_dir,
        tasks_python_config=spec.tasks_python_config,
        tasks_pixi_config=spec.tasks_pixi_config,
        tasks_pip_cache_dir=spec.tasks_pip_cache_dir,
        jobs_poll_interval=spec.jobs_poll_interval,
        prevent_new_submissions=UNSET,
        jobs_runner_config=LocalRunnerConfig(),
    )
