"""What one unit of a job needs, from the resource's configuration and the request.

Later wins: default configuration, GPU configuration if `needs_gpu` (only the keys that were written), the request's
needs. Extra lines of the GPU configuration take the place of the default's, and so does the way in which it asks for
GPUs; the request's lines follow. The request's account goes before the configuration's, unless jobs may not name one.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from shared.slurm.requests.amounts import multiplied_option
from shared.slurm.requests.extra_lines import ExtraLines, option_name, read_extra_lines
from shared.slurm.requests.gpus import can_multiply_gres, count_gpus, count_gres
from shared.slurm.requests.memory import is_whole_memory, parse_memory
from shared.slurm.requests.times import parse_limit, unit_time_errors
from shared.slurm.requests.values import check_value
from stoker.contracts.needs import SchedulingRequest
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import SlurmConfig, SlurmRunnerConfig
from stoker.errors import Invalid

_GPU = "jobs_runner_config.gpu_slurm_config"
_ELSEWHERE = frozenset({"extra_lines", "needs_gpu"})
_GPUS_SOMEHOW = frozenset({"gpus-per-node", "gpus-per-socket", "gpus-per-task", "tres-per-task", "tres-per-job"})
"""Options that ask for GPUs, or may, in a way that is not multiplied here."""


class UnitNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit needs, and how its batch is to be run.

    `memory_mb` None: nobody said, the cluster's default holds, unless `whole_memory`: all that the node has.
    `time_seconds` is the batch's limit: None where the
    partition's default holds, infinite for UNLIMITED. `gres` and `gpus` are for one unit. `one_at_a_time` says why a
    batch must not run several units at once, if so. `options` are the `#SBATCH` options of extra lines.
    """

    cpus: int = 1
    memory_mb: int | None = None
    memory_per_cpu: bool = False
    whole_memory: bool = False
    time_seconds: float | None = None
    unit_time_seconds: float | None = None
    nodes: int = 1
    partition: str | None = None
    account: str | None = None
    constraint: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    gres: str | None = None
    gpus: str | None = None
    gpus_per_unit: int = 0
    one_at_a_time: str | None = None
    options: list[tuple[str, ...]] = []
    shell_lines: list[str] = []
    shebang_line: str = "#!/bin/sh"
    worker_init: str = ""
    warnings: list[str] = []


class _Layer(msgspec.Struct, frozen=True):
    """One source of values: their path in what people wrote, the values, the extra lines."""

    path: str
    lines_path: str
    values: dict[str, Any]
    lines: list[str]


def merge_needs(config: SlurmRunnerConfig, request: SchedulingRequest) -> UnitNeeds:
    """Return what one unit needs. Raises Invalid with every wrong field, of the request or of the configuration."""
    layers = list(_layers(config, request))
    lines = [read_extra_lines(layer.lines, layer.lines_path, layer.values) for layer in layers]
    errors = [error for read in lines for error in read.errors]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer, read in zip(layers, lines, strict=True):
        for field, value in (layer.values | read.fields).items():
            origin = _join(layer.path, field) if field in layer.values else layer.lines_path
            errors += check_value(field, value, origin)
            if layer.path == _GPU:
                _forget_other_way(field, merged)
            merged[field], origins[field] = value, origin
    errors += _repeated(layers, lines)
    errors += _asked_twice(merged, origins)
    errors += _request_errors(request)
    if config.prevent_job_accounts is True and origins.get("account") in {"account", "extra_lines"}:
        message = "must be left out: on this resource jobs may not name an account (prevent_job_accounts)"
        errors.append(FieldError(origins["account"], message))
    if errors:
        raise Invalid("The needs of this job make no sense on this resource", errors)
    return _needs(merged, lines, request, list(_warnings(config, request, merged)))


def _layers(config: SlurmRunnerConfig, request: SchedulingRequest) -> Iterator[_Layer]:
    gpu = config.gpu_slurm_config if request.needs.needs_gpu else None
    default = config.default_slurm_config
    if isinstance(gpu, SlurmConfig) and gpu.extra_lines is not UNSET:
        default = msgspec.structs.replace(default, extra_lines=UNSET)
    yield _config_layer(default, "jobs_runner_config.default_slurm_config")
    if isinstance(gpu, SlurmConfig):
        yield _config_layer(gpu, _GPU)
    values = _written(request.needs)
    if request.account is not None:
        values["account"] = request.account
    yield _Layer("needs", "extra_lines", values, request.extra_lines)


def _config_layer(config: SlurmConfig, path: str) -> _Layer:
    lines = [] if config.extra_lines is UNSET else config.extra_lines
    return _Layer(path, f"{path}.extra_lines", _written(config), lines)


def _written(struct: msgspec.Struct) -> dict[str, Any]:
    """Return the fields that were written, by name."""
    values = {name: getattr(struct, name) for name in struct.__struct_fields__ if name not in _ELSEWHERE}
    return {name: value for name, value in values.items() if value is not UNSET}


def _forget_other_way(field: str, merged: dict[str, Any]) -> None:
    """GPUs are asked for in `gres` or in `gpus`: what comes later says how."""
    if field == "gres":
        merged.pop("gpus", None)
    elif field == "gpus" and count_gres(str(merged.get("gres", ""))) != 0:
        merged.pop("gres", None)


def _join(path: str, field: str) -> str:
    return "account" if (path, field) == ("needs", "account") else f"{path}.{field}"


def _repeated(layers: list[_Layer], lines: list[ExtraLines]) -> Iterator[FieldError]:
    """A line, or an option, that is there twice: one of them would be lost without a word."""
    written = Counter[str]()
    for layer in layers:
        for index, line in enumerate(layer.lines):
            written[line] += 1
            if written[line] > 1:
                yield FieldError(f"{layer.lines_path}[{index}]", f"is there already: {line}")
    places: dict[str, str] = {}
    for layer, read in zip(layers, lines, strict=True):
        for option in read.options:
            name = option_name(option)
            if name not in places:
                places[name] = layer.lines_path
            elif written[f"#SBATCH {' '.join(option)}"] <= 1:
                yield FieldError(
                    layer.lines_path, f"{option[0]}: this option is there already ({places[name]}); give it once"
                )


def _asked_twice(merged: dict[str, Any], origins: dict[str, str]) -> Iterator[FieldError]:
    """GPUs in `gres` and in `gpus`: SLURM would have to satisfy both, which nobody means."""
    if "gres" in merged and "gpus" in merged and count_gres(str(merged["gres"])) != 0:
        message = f"GPUs are asked for in gres as well ({merged['gres']}, see {origins['gres']}): use one of the two"
        yield FieldError(origins["gpus"], message)


def worker_init_errors(lines: str) -> Iterator[FieldError]:
    """Yield what is wrong with a job's own shell lines."""
    if any(ord(character) < ord(" ") and character not in "\n\r\t" for character in lines):
        yield FieldError("worker_init", "must be shell lines without control characters")


def _request_errors(request: SchedulingRequest) -> Iterator[FieldError]:
    yield from worker_init_errors(request.worker_init)
    yield from unit_time_errors(request.unit_time)


def _needs(
    merged: dict[str, Any], lines: list[ExtraLines], request: SchedulingRequest, warnings: list[str]
) -> UnitNeeds:
    nodes = merged.get("nodes", 1)
    options = [option for read in lines for option in read.options]
    gres, gpus = merged.get("gres"), merged.get("gpus")
    counted = [count_gres(gres) if gres else 0, count_gpus(gpus) if gpus else 0]
    known = [count for count in counted if count is not None]
    whole_memory = is_whole_memory(merged.get("mem"))
    return UnitNeeds(
        cpus=merged.get("cpus_per_task", 1),
        memory_mb=parse_memory(merged["mem"]) if "mem" in merged and not whole_memory else None,
        whole_memory=whole_memory,
        memory_per_cpu=merged.get("use_mem_per_cpu", False),
        time_seconds=parse_limit(merged["time"]) if "time" in merged else None,
        unit_time_seconds=None if request.unit_time is None else parse_limit(request.unit_time),
        nodes=nodes,
        partition=merged.get("partition"),
        account=merged.get("account"),
        constraint=merged.get("constraint"),
        nodelist=merged.get("nodelist"),
        exclude=merged.get("exclude"),
        gres=gres,
        gpus=gpus,
        gpus_per_unit=sum(known),
        one_at_a_time=_one_at_a_time(merged, nodes, options, all_known=len(known) == len(counted)),
        options=options,
        shell_lines=[line for read in lines for line in read.shell],
        shebang_line=merged.get("shebang_line", "#!/bin/sh"),
        worker_init=request.worker_init.replace("\r\n", "\n").replace("\r", "\n"),
        warnings=warnings,
    )


def _one_at_a_time(
    merged: dict[str, Any], nodes: int, options: list[tuple[str, ...]], *, all_known: bool
) -> str | None:
    if nodes > 1:
        return f"each unit has {nodes} nodes of its own"
    if is_whole_memory(merged.get("mem")):
        return "a unit has all memory of its node (mem: 0)"
    if somehow := [option[0] for option in options if _asks_for_gpus(option)]:
        return f"{somehow[0]} asks for GPUs in a way that cannot be multiplied"
    if single := [" ".join(option) for option in options if multiplied_option(option, 2) is None]:
        return f"{single[0]} cannot be multiplied"
    gres = merged.get("gres")
    if gres is not None and not can_multiply_gres(gres):
        return f"what gres asks for cannot be multiplied: {gres}"
    return None if all_known else "the GPUs in gres cannot be counted"


def _asks_for_gpus(option: tuple[str, ...]) -> bool:
    name = option_name(option)
    return len(name) > 1 and any(known.startswith(name) for known in _GPUS_SOMEHOW)


def _warnings(config: SlurmRunnerConfig, request: SchedulingRequest, merged: dict[str, Any]) -> Iterator[str]:
    if "mem" not in merged:
        yield "neither the resource nor the request says how much memory a unit needs: the cluster's default holds"
    if request.needs.needs_gpu and not isinstance(config.gpu_slurm_config, SlurmConfig):
        yield "needs_gpu is set, and this resource has no gpu_slurm_config: no GPU is asked for because of it"
