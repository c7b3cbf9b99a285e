"""Builds that run as SLURM jobs: pure functions of where environments are made, and of what is to be done.

A cluster's configuration may say so (`SLURM_CONFIG`), for pixi projects and for what Python's installers make. What
takes no time is done beside the agent all the same: removing, and looking at what somebody else made.
"""

import math

import msgspec
from msgspec import UNSET

from services.executor.building.builds import Arguments
from shared.slurm.requests.memory import parse_memory
from stoker.contracts.holds import Connection
from stoker.contracts.resources import (
    BuildSlurmConfig,
    LocalResourceSpec,
    SlurmConfig,
    SlurmRunnerConfig,
    SlurmSshResourceSpec,
    SlurmSudoResourceSpec,
)


class SlurmBuild(msgspec.Struct, frozen=True):
    """A build for SLURM: its place, whose runner configuration is `config`, and lines for its script."""

    place: Connection
    config: SlurmRunnerConfig
    lines: list[str]


def slurm_build(place: Connection, arguments: Arguments) -> SlurmBuild | None:
    """Return how the builder is run in SLURM; None where the agent starts it itself."""
    spec = place.resource.spec
    if isinstance(spec, LocalResourceSpec) or arguments["action"] not in {"create", "rebuild"}:
        return None
    config = _config(spec, arguments["source"]["type"])
    if config is None:
        return None
    runner = _runner_config(spec.jobs_runner_config, config)
    changed = msgspec.structs.replace(spec, jobs_runner_config=runner)
    return SlurmBuild(
        Connection(resource=msgspec.structs.replace(place.resource, spec=changed), profile=place.profile),
        runner,
        [] if config.preamble is UNSET else config.preamble,
    )


def _config(spec: SlurmSudoResourceSpec | SlurmSshResourceSpec, source: str) -> BuildSlurmConfig | None:
    if source == "existing":
        return None
    if source == "pixi":
        pixi = {} if spec.tasks_pixi_config is UNSET else spec.tasks_pixi_config
        written = pixi.get("SLURM_CONFIG")
        return None if written is None else msgspec.convert(written, BuildSlurmConfig)
    python = spec.tasks_python_config.SLURM_CONFIG
    return None if python is UNSET else python


def _runner_config(jobs: SlurmRunnerConfig, build: BuildSlurmConfig) -> SlurmRunnerConfig:
    """Return what one job with one slot needs; nothing of what users' jobs get by default."""
    per_cpu = isinstance(build.mem_per_cpu, str)
    memory = _megabytes(str(build.mem_per_cpu if per_cpu else build.mem)) * (build.cpus if per_cpu else 1)
    needs = SlurmConfig(
        partition=build.partition, cpus_per_task=build.cpus, mem=memory, time=build.time, use_mem_per_cpu=per_cpu
    )
    return SlurmRunnerConfig(default_slurm_config=needs, batching_config=jobs.batching_config)


def _megabytes(text: str) -> int:
    # What jobs ask for has no K.
    return math.ceil(int(text[:-1]) / 1000) if text.endswith("K") else parse_memory(text)
