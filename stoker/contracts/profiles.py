"""Profiles: identities on a resource."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from stoker.contracts.resources import AbsolutePath, Name, ResourceType, Username


class LocalProfileSpec(
    msgspec.Struct, tag_field="resource_type", tag="local", forbid_unknown_fields=True, kw_only=True
):
    """Nobody in particular: units run as the service's own user.

    In profiles of every kind `cache_dir` is the cache folder of units, instead of one in the user's home: where many
    people share a user, each of them can have one.
    """

    name: Name
    cache_dir: AbsolutePath | UnsetType = UNSET


class SlurmSudoProfileSpec(
    msgspec.Struct, tag_field="resource_type", tag="slurm_sudo", forbid_unknown_fields=True, kw_only=True
):
    """The UNIX user to impersonate."""

    name: Name
    username: Username
    jobs_remote_dir: AbsolutePath | UnsetType = UNSET
    cache_dir: AbsolutePath | UnsetType = UNSET


class SlurmSshProfileSpec(
    msgspec.Struct, tag_field="resource_type", tag="slurm_ssh", forbid_unknown_fields=True, kw_only=True
):
    """An SSH login: key file on the server, folders on the cluster."""

    name: Name
    username: Username
    ssh_key_path: AbsolutePath
    jobs_remote_dir: AbsolutePath
    tasks_remote_dir: AbsolutePath
    pixi_cache_dir: AbsolutePath | UnsetType = UNSET
    cache_dir: AbsolutePath | UnsetType = UNSET


ProfileSpec = LocalProfileSpec | SlurmSudoProfileSpec | SlurmSshProfileSpec


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A stored profile of one resource. `spec` is what the administrator wrote; for `warnings` see `Resource`."""

    id: str
    resource_id: str
    name: str
    resource_type: ResourceType
    version: int
    created_at: datetime
    updated_at: datetime
    spec: ProfileSpec
    warnings: list[str] | UnsetType = UNSET
