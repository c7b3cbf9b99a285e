"""Rules for SLURM configurations."""

import re
from collections.abc import Mapping
from typing import Any

from services.registry.rules import texts
from services.registry.rules.texts import Wrong
from shared.service.web.bodies.expectations import join
from shared.slurm.requests.directives import FIELD_OPTIONS, OWN_OPTIONS, directive_options
from shared.slurm.requests.memory import is_whole_memory, parse_memory
from stoker.errors import Invalid

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_OWN_VARIABLES = ("STOKER_", "FRACTAL_CACHE_DIR", "SLURM_", "LD_")


def slurm_config(fields: Mapping[str, Any]) -> Wrong:
    """One SLURM job's options."""
    if "mem" in fields and not is_whole_memory(fields["mem"]):
        yield from texts.memory(fields["mem"], "mem")
    if "time" in fields:
        yield from texts.time_limit(fields["time"], "time")
    if "shebang_line" in fields and not re.match(r"#!\s*/", fields["shebang_line"]):
        yield "shebang_line", 'must be "#!" and an absolute path, such as "#!/bin/sh"'
    for option in ("partition", "constraint", "gres", "exclude", "nodelist", "account", "gpus"):
        if option in fields and not fields[option].strip():
            yield option, "must not be empty; leave the key out instead"
    seen = set[str]()
    for index, line in enumerate(fields.get("extra_lines", [])):
        yield from extra_line(line, f"extra_lines[{index}]", fields)
        if line in seen:
            yield f"extra_lines[{index}]", "is there twice"
        seen.add(line)


def extra_line(line: str, path: str, fields: Mapping[str, Any]) -> Wrong:
    """One line that is added to a script, beside these fields."""
    if line.startswith(("#PBS", "#BSUB")):
        yield path, 'is for another scheduler; write "#SBATCH --option=value"'
    for option in directive_options(line):
        if isinstance(option, str):
            yield path, option
        elif option.name in OWN_OPTIONS:
            yield path, f"{option.shown} is not allowed here: Stoker sets --{option.name} itself"
        elif option.name in FIELD_OPTIONS and option.name in fields:
            yield path, f"{option.shown} is also given by the field {option.name}; give it once"


def batching_config(fields: Mapping[str, Any]) -> Wrong:
    """Each target is at most its maximum."""
    for field in ("target_mem_per_job", "max_mem_per_job"):
        if field in fields:
            yield from texts.memory(fields[field], field)
    for what in ("cpus_per_job", "mem_per_job", "num_jobs"):
        target, maximum = fields.get(f"target_{what}"), fields.get(f"max_{what}")
        if target is None or maximum is None:
            continue
        try:
            above = parse_memory(target) > parse_memory(maximum) if what == "mem_per_job" else target > maximum
        except Invalid:
            continue
        if above:
            yield f"target_{what}", f"must be at most max_{what} ({maximum})"


def runner_config(fields: Mapping[str, Any]) -> Wrong:
    """`user_local_exports`: variable names, and paths relative to the user's cache folder."""
    for variable, path in fields.get("user_local_exports", {}).items():
        place = join("user_local_exports", variable)
        if not _VARIABLE.match(variable):
            yield place, 'its name must be a variable name: letters, digits and "_", such as "NAPARI_CONFIG"'
        elif variable.startswith(_OWN_VARIABLES) or variable in {"PATH", "HOME"}:
            yield place, f"{variable} is not set this way: it belongs to Stoker, SLURM or the system"
        yield from texts.relative_path(path, place)
