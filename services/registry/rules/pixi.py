"""`tasks_pixi_config`: `{}`, or all of it."""

import posixpath
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from services.registry.rules import slurm, texts
from services.registry.rules.texts import Wrong
from shared.service.web.bodies.errors import Rules, find_errors
from shared.service.web.bodies.expectations import join
from stoker.contracts.resources import AbsolutePath, AtLeastOne, BuildSlurmConfig

Text = Annotated[str, Meta(min_length=1)]
_MEMORY = re.compile(r"[1-9][0-9]*[KMGT]\Z")


class PixiConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Installed pixi versions, and how to run them."""

    default_version: Text
    versions: dict[str, AbsolutePath]
    PIXI_CONCURRENT_SOLVES: AtLeastOne | UnsetType = UNSET
    PIXI_CONCURRENT_DOWNLOADS: AtLeastOne | UnsetType = UNSET
    TOKIO_WORKER_THREADS: AtLeastOne | UnsetType = UNSET
    DEFAULT_ENVIRONMENT: Text | UnsetType = UNSET
    DEFAULT_PLATFORM: Text | UnsetType = UNSET
    SLURM_CONFIG: BuildSlurmConfig | UnsetType = UNSET


def pixi_config(value: Mapping[str, Any], path: str, *, slurm_config_required: bool) -> Wrong:
    """Check the whole of it; `path` is where it is."""
    if not value:
        return
    for error in find_errors(value, PixiConfig, _RULES):
        yield (path if error.path == "$" else f"{path}.{error.path}"), error.message
    if slurm_config_required and "SLURM_CONFIG" not in value:
        yield f"{path}.SLURM_CONFIG", "is required on an SSH resource: pixi installs in a SLURM job there"


def default_version(fields: Mapping[str, Any]) -> Wrong:
    """The default is one of the versions, which are absolute paths."""
    versions = fields.get("versions")
    if versions is None:
        return
    for version, path in versions.items():
        yield from texts.absolute_path(path, join("versions", version))
    if "default_version" in fields and fields["default_version"] not in versions:
        known = ", ".join(versions) or "none"
        yield "default_version", f"must be one of the keys of versions ({known})"


def _pixi(fields: Mapping[str, Any]) -> Wrong:
    yield from default_version(fields)
    versions: Mapping[str, str] = fields.get("versions", {})
    folders = {version: texts.normalised(path) for version, path in versions.items()}
    for version, folder in folders.items():
        if posixpath.basename(folder) != version:
            yield join("versions", version), f'must be a folder named {version}, such as "/opt/pixi/{version}"'
    if len({posixpath.dirname(folder) for folder in folders.values()}) > 1:
        yield "versions", "the folders of all versions must be in the same parent folder"


def build_slurm_config(fields: Mapping[str, Any]) -> Wrong:
    """The SLURM job in which environments are made."""
    given = [field for field in ("mem", "mem_per_cpu") if field in fields]
    if len(given) != 1:
        yield "mem", "give either mem or mem_per_cpu, and only one of them"
    for field in given:
        if not _MEMORY.match(fields[field]):
            yield field, 'must be an amount with a unit K, M, G or T, such as "8G"'
    if "time" in fields:
        yield from texts.time_limit(fields["time"], "time")
    for index, line in enumerate(fields.get("preamble", [])):
        yield from slurm.extra_line(line, f"preamble[{index}]", {})


_RULES: Rules = {PixiConfig: texts.with_one_line(_pixi), BuildSlurmConfig: texts.with_one_line(build_slurm_config)}
