"""Resources: the places that compute. Fields keep the names that users' configurations already have.

A field that was not written stays `UNSET`, so that a partial GPU configuration never erases a default.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

ResourceType = Literal["local", "slurm_sudo", "slurm_ssh"]

Name = Annotated[str, Meta(min_length=1, max_length=200)]
AbsolutePath = Annotated[
    str, Meta(pattern=r"^/", max_length=4096, description="an absolute path", examples=["/data/stoker"])
]
Username = Annotated[
    str,
    Meta(
        pattern=r"^\w[\w.@\\-]*\$?$",
        max_length=256,
        description="a user name, as the system has it; directories have some with letters of any script, @ and \\",
        examples=["jdoe"],
    ),
]
AtLeastOne = Annotated[int, Meta(ge=1)]
Memory = Annotated[
    int | str, Meta(description="megabytes, or a number with M, G or T", examples=[8000, "71M", "3G", "2T"])
]
"""Megabytes as an integer, or "93", "71M", "3G", "2T" (decimal units). Parsed by `shared.slurm.requests.memory`."""


class LocalRunnerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How jobs run on this machine; null means as many units at once as the machine has CPUs."""

    parallel_tasks_per_job: AtLeastOne | None | UnsetType = UNSET


class SlurmConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of one SLURM job, with sbatch's meanings."""

    partition: str | UnsetType = UNSET
    cpus_per_task: AtLeastOne | UnsetType = UNSET
    mem: Memory | UnsetType = UNSET
    constraint: str | UnsetType = UNSET
    gres: str | UnsetType = UNSET
    exclude: str | UnsetType = UNSET
    nodelist: str | UnsetType = UNSET
    nodes: AtLeastOne | UnsetType = UNSET
    time: str | UnsetType = UNSET
    account: str | UnsetType = UNSET
    extra_lines: list[str] | UnsetType = UNSET
    gpus: str | UnsetType = UNSET
    shebang_line: str | UnsetType = UNSET
    use_mem_per_cpu: bool | UnsetType = UNSET


class BatchingConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Bounds of the batching formula; each target is at most its maximum. Memory in MB."""

    target_cpus_per_job: AtLeastOne
    max_cpus_per_job: AtLeastOne
    target_mem_per_job: Memory
    max_mem_per_job: Memory
    target_num_jobs: AtLeastOne
    max_num_jobs: AtLeastOne


class SlurmRunnerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How jobs run on a SLURM cluster.

    `gpu_slurm_config` goes before the default for units that need a GPU: each key that is written in it, and all of
    its extra lines together, take the place of the default's.
    """

    default_slurm_config: SlurmConfig
    batching_config: BatchingConfig
    gpu_slurm_config: SlurmConfig | None | UnsetType = UNSET
    user_local_exports: dict[str, str] | UnsetType = UNSET
    max_running_jobs: AtLeastOne | UnsetType = UNSET
    """How many SLURM jobs of one submit call run at the same time (the array's `%N`); not written: any number."""
    units_as_steps: bool | UnsetType = UNSET
    """Whether SLURM confines each unit in a job step of its own: slow, some ten units a second."""
    prevent_job_accounts: bool | UnsetType = UNSET
    """Whether jobs may not name an account of their own: the configuration's holds, or the user's default."""


BuildMemory = Annotated[str, Meta(description="an amount with a unit K, M, G or T", examples=["8G"])]


class BuildSlurmConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The SLURM job in which environments are made; `preamble` are lines of its script, as `extra_lines` are."""

    partition: Annotated[str, Meta(min_length=1)]
    cpus: AtLeastOne
    time: Annotated[str, Meta(min_length=1)]
    mem: BuildMemory | UnsetType = UNSET
    mem_per_cpu: BuildMemory | UnsetType = UNSET
    preamble: list[str] | UnsetType = UNSET


class PythonConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Interpreters that task environments are made with: version to absolute path."""

    default_version: str
    versions: dict[str, AbsolutePath]
    pip_cache_dir: AbsolutePath | None | UnsetType = UNSET
    SLURM_CONFIG: BuildSlurmConfig | UnsetType = UNSET
    """Where it is written, a cluster's environments are made by jobs in SLURM, and not beside the agent."""


class _ResourceSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    name: Name
    jobs_local_dir: AbsolutePath
    tasks_local_dir: AbsolutePath
    tasks_python_config: PythonConfig
    tasks_pixi_config: dict[str, Any] | UnsetType = UNSET
    tasks_pip_cache_dir: AbsolutePath | None | UnsetType = UNSET
    jobs_poll_interval: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    prevent_new_submissions: bool | UnsetType = UNSET


class LocalResourceSpec(_ResourceSpec, tag="local", forbid_unknown_fields=True, kw_only=True):
    """This machine."""

    jobs_runner_config: LocalRunnerConfig


class SlurmSudoResourceSpec(_ResourceSpec, tag="slurm_sudo", forbid_unknown_fields=True, kw_only=True):
    """A SLURM cluster whose submit host is this machine, reached with `sudo -u user`.

    `slurm_commands_dir` and `slurm_conf`: the folder of SLURM's commands and the configuration file that they read,
    where the host does not find them by itself, or has several clusters.
    """

    jobs_runner_config: SlurmRunnerConfig
    jobs_slurm_python_worker: AbsolutePath
    slurm_commands_dir: AbsolutePath | UnsetType = UNSET
    slurm_conf: AbsolutePath | UnsetType = UNSET
    tasks_user: Username | UnsetType = UNSET


class SlurmSshResourceSpec(_ResourceSpec, tag="slurm_ssh", forbid_unknown_fields=True, kw_only=True):
    """A SLURM cluster reached through SSH; `host` may be `name` or `name:port`.

    `slurm_commands_dir` and `slurm_conf`: as for `slurm_sudo`, on the login host.
    """

    host: Annotated[str, Meta(min_length=1)]
    jobs_runner_config: SlurmRunnerConfig
    jobs_slurm_python_worker: AbsolutePath
    slurm_commands_dir: AbsolutePath | UnsetType = UNSET
    slurm_conf: AbsolutePath | UnsetType = UNSET
    port: Annotated[int, Meta(ge=1, le=65535)] | UnsetType = UNSET
    ssh_known_hosts: AbsolutePath | UnsetType = UNSET


ResourceSpec = LocalResourceSpec | SlurmSudoResourceSpec | SlurmSshResourceSpec


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A stored resource. `spec` is what the administrator wrote: keys not written are absent from it.

    `warnings` are in answers to a change that ignored or changed something of what was sent, and say what.
    """

    id: str
    name: str
    type: ResourceType
    version: int
    created_at: datetime
    updated_at: datetime
    spec: ResourceSpec
    warnings: list[str] | UnsetType = UNSET
