"""`batch.json`: what a runner needs to know of its batch besides the units' arguments."""

import msgspec
from msgspec import UNSET

from services.executor.planning.growth import Growth, growth_of, needs_of
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import StoredSubmit, connection_of, max_restarts, submit_of
from shared.remote.runner.units.environment import CACHE_VARIABLES
from shared.slurm.requests.times import parse_limit
from stoker.contracts.needs import SchedulingRequest
from stoker.contracts.resources import SlurmRunnerConfig

_LONG_OUTPUT_BYTES = 32 * 1024 * 1024
# A builder that is told to end has to end its installers first, and then removes what they made.
_BUILDER_GRACE_SECONDS = 20.0
_LINES = "STOKER_WORKER_INIT"


class StagingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What every batch is told of the limits set for this executor."""

    output_limit_bytes: int = 1024 * 1024
    kill_grace_seconds: float = 2.0


class BatchFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file's content; what is left out has the runner's own default."""

    format: int
    job_id: str
    batch_id: str
    index: int
    parallel: int
    command: list[str]
    environment: dict[str, str]
    mark: str
    output_limit_bytes: int
    kill_grace_seconds: float
    work: str
    unit_time_seconds: float | None = None
    exports: dict[str, str] = {}
    cpus_per_unit: int | None = None
    gpus_per_unit: int = 0
    max_restarts: int = 0
    step: bool = False
    step_memory_mb: int | None = None


def batch_file(job: JobRow, batch: BatchRow, limits: StagingLimits) -> bytes:
    """The bytes of a batch's file."""
    submit = submit_of(job, batch.phase)
    local = job.placement == "local"
    common = BatchFile(
        format=1,
        job_id=job.id,
        batch_id=batch.id,
        index=batch.batch_index,
        parallel=batch.parallel,
        command=_after_lines(submit) if local else submit.command,
        environment=_environment(job, submit, local=local),
        mark=batch.id,
        output_limit_bytes=output_limit_bytes(job, batch, limits),
        kill_grace_seconds=max(limits.kill_grace_seconds, _BUILDER_GRACE_SECONDS if job.kind == "activity" else 0.0),
        work="../../work",
    )
    growth = growth_of(batch)
    config = connection_of(job).resource.spec.jobs_runner_config
    if local or not isinstance(config, SlurmRunnerConfig):
        return msgspec.json.encode(msgspec.structs.replace(common, unit_time_seconds=_unit_time(submit, growth)))
    needs = needs_of(job, growth)
    return msgspec.json.encode(
        msgspec.structs.replace(
            common,
            unit_time_seconds=needs.unit_time_seconds,
            exports={} if config.user_local_exports is UNSET else config.user_local_exports,
            cpus_per_unit=needs.cpus,
            gpus_per_unit=needs.gpus_per_unit,
            max_restarts=max_restarts(submit),
            step=config.units_as_steps is True,
            step_memory_mb=needs.memory_mb,
        )
    )


def _after_lines(submit: StoredSubmit) -> list[str]:
    """The command of units without a batch script: the job's own lines run in a shell, which becomes the command.

    The lines travel in the environment: in the command, what looks like a placeholder would be replaced.
    """
    if not submit.worker_init.strip():
        return submit.command
    return ["/bin/sh", "-c", f'eval "${_LINES}"\nexec "$@"', "worker_init", *submit.command]


def _environment(job: JobRow, submit: StoredSubmit, *, local: bool) -> dict[str, str]:
    """The variables of the call, with what it, or the profile, says beside them."""
    lines = {_LINES: submit.worker_init} if local and submit.worker_init.strip() else {}
    profile = connection_of(job).profile.spec
    cache = submit.cache_dir if submit.cache_dir is not None else profile.cache_dir
    return {
        **dict.fromkeys(CACHE_VARIABLES if isinstance(cache, str) else (), str(cache)),
        **submit.environment,
        **lines,
    }


def output_limit_bytes(job: JobRow, batch: BatchRow, limits: StagingLimits) -> int:
    """How large an out file of a batch's units may be.

    A manifest, or the list of all compute units, must be taken whatever the limit.
    """
    lists_units = len(submit_of(job).phases) > 1 and batch.phase == 0
    least = _LONG_OUTPUT_BYTES if job.kind == "activity" or lists_units else 0
    return max(limits.output_limit_bytes, least)


def _unit_time(request: SchedulingRequest, growth: Growth) -> float | None:
    if request.unit_time is None:
        return None
    return parse_limit(request.unit_time) * request.retries.time_factor**growth.time
