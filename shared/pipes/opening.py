"""Opening the pipe that a kind of resource asks for, with a service's settings."""

from collections.abc import Awaitable, Callable

import msgspec

from shared.pipes.local import open_local_pipe
from shared.pipes.pipe import Pipe
from shared.pipes.ssh import SshLimits, open_ssh_pipe
from shared.pipes.sudo.pipe import open_sudo_pipe
from shared.service.settings import INSTALLED_AGENT, SSH_ANSWER_SECONDS, SYSTEM_KNOWN_HOSTS
from stoker.contracts.holds import Connection
from stoker.contracts.profiles import SlurmSudoProfileSpec
from stoker.contracts.resources import LocalResourceSpec, SlurmSshResourceSpec, SlurmSudoResourceSpec
from stoker.errors import Invalid


class PipeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a service's settings say about pipes.

    `ssh_known_hosts`: absolute path of the file with the host keys of clusters, unless a resource names its own.
    `ssh_answer_seconds`: how long the host of a cluster may take to answer.
    `agent_file`: absolute path of the installed agent that sudo starts.
    """

    ssh_known_hosts: str = SYSTEM_KNOWN_HOSTS
    ssh_answer_seconds: float = SSH_ANSWER_SECONDS
    agent_file: str = INSTALLED_AGENT


PipeOpener = Callable[[Connection], Awaitable[Pipe]]
_DEFAULT = PipeSettings()


async def open_pipe(connection: Connection, settings: PipeSettings = _DEFAULT) -> Pipe:
    """Open the pipe that the resource's type asks for.

    Raises Unavailable, or Invalid for a type that is not served.
    """
    spec = connection.resource.spec
    if isinstance(spec, LocalResourceSpec):
        return await open_local_pipe()
    if isinstance(spec, SlurmSshResourceSpec):
        limits = SshLimits.of(settings.ssh_answer_seconds)
        return await open_ssh_pipe(connection, settings.ssh_known_hosts, limits)
    profile = connection.profile.spec
    if isinstance(spec, SlurmSudoResourceSpec) and isinstance(profile, SlurmSudoProfileSpec):
        return await open_sudo_pipe(
            profile.username, python=spec.jobs_slurm_python_worker, agent_file=settings.agent_file
        )
    raise Invalid(f"resources of type {connection.resource.type} cannot be reached yet")
