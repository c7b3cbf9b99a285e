"""What a submit call may ask besides its command and units: how it is scheduled, limited and tried again."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stoker.contracts.resources import AtLeastOne, Memory

MAX_WORKER_INIT_CHARACTERS = 100_000
MAX_EXTRA_LINES = 100

RetryReason = Literal[
    "exit_code",
    "signal",
    "out_of_memory",
    "time_limit",
    "node_failure",
    "preempted",
    "runner_died",
    "scheduler_failed",
    "vanished",
]


class Needs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What one unit needs; what is left out comes from the resource's configuration.

    `mem` is per unit (on each node, where `nodes` is above 1); `time` is the limit of a batch, as SLURM writes it.
    `gres` and `gpus` are per unit too: a batch that runs several units at once asks for their sum. `needs_gpu` adds
    the resource's GPU configuration; false says so against a package that asks for it.
    """

    cpus_per_task: AtLeastOne | UnsetType = UNSET
    mem: Memory | UnsetType = UNSET
    time: str | UnsetType = UNSET
    gres: str | UnsetType = UNSET
    gpus: str | UnsetType = UNSET
    constraint: str | UnsetType = UNSET
    nodelist: str | UnsetType = UNSET
    exclude: str | UnsetType = UNSET
    nodes: AtLeastOne | UnsetType = UNSET
    needs_gpu: bool | UnsetType = UNSET


class PartNeeds(Needs, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What one part of a task needs (its init, or what runs for each image), and how its units are put together.

    `extra_lines`, `tasks_per_job` and `parallel_tasks_per_job` mean what they mean in a submit call, for this part.
    """

    extra_lines: Annotated[list[str], Meta(max_length=MAX_EXTRA_LINES)] = []
    tasks_per_job: AtLeastOne | UnsetType = UNSET
    parallel_tasks_per_job: AtLeastOne | UnsetType = UNSET


class Retries(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How often a unit that did not succeed is tried again, after which reasons, and with how much more.

    The factors apply once for each earlier attempt that ended so: with `memory_factor` 2, the third attempt
    of a unit that ran out of memory twice gets four times the memory, up to the resource's maximum.
    """

    count: Annotated[int, Meta(ge=0, le=10)] = 0
    on: frozenset[RetryReason] = frozenset({"node_failure", "preempted"})
    memory_factor: Annotated[float, Meta(ge=1, le=16)] = 1.0
    time_factor: Annotated[float, Meta(ge=1, le=16)] = 1.0


class SchedulingRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How the units of a submit call are run; `unit_time` and `retries` mean the same on every resource.

    `needs` have no effect on a local resource, and `account` and `extra_lines` are refused there. `worker_init` are
    shell lines that run before the work: once a batch in SLURM, before each unit on a local resource. `extra_lines`
    are single lines: `#SBATCH` options, or shell. `unit_time` is the limit of one unit, written like `needs.time`;
    the runner ends a unit that reaches it.
    """

    needs: Needs = Needs()
    account: str | None = None
    worker_init: Annotated[str, Meta(max_length=MAX_WORKER_INIT_CHARACTERS)] = ""
    extra_lines: Annotated[list[str], Meta(max_length=MAX_EXTRA_LINES)] = []
    unit_time: str | None = None
    retries: Retries = Retries()
