"""Where an agent finds SLURM: its commands and their configuration, as they follow from the resource."""

import os

from msgspec import UNSET

from stoker.contracts.holds import Connection
from stoker.contracts.resources import LocalResourceSpec, SlurmSudoResourceSpec

_VARIABLE = "SLURM_CONF"


def slurm_of(connection: Connection) -> dict[str, str]:
    """What an agent is told in its hello: `commands_dir`, `conf`; nothing where the host finds them by itself.

    Agents beside the service get the SLURM_CONF of the service, unless the resource names another one: sudo passes
    no environment.
    """
    spec = connection.resource.spec
    if isinstance(spec, LocalResourceSpec):
        return {}
    told = {}
    if spec.slurm_commands_dir is not UNSET:
        told["commands_dir"] = spec.slurm_commands_dir
    if spec.slurm_conf is not UNSET:
        told["conf"] = spec.slurm_conf
    elif isinstance(spec, SlurmSudoResourceSpec) and (own := os.environ.get(_VARIABLE)):
        told["conf"] = own
    return told
