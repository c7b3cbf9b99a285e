"""Rules for resources, and the normal form in which they are stored."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from services.registry.rules import pixi, slurm, texts
from services.registry.rules.texts import Wrong
from shared.service.web.bodies.errors import Rule, Rules
from stoker.contracts.resources import (
    BatchingConfig,
    BuildSlurmConfig,
    LocalResourceSpec,
    PythonConfig,
    ResourceSpec,
    SlurmConfig,
    SlurmRunnerConfig,
    SlurmSshResourceSpec,
    SlurmSudoResourceSpec,
)

_FOLDERS = (
    "jobs_local_dir",
    "tasks_local_dir",
    "tasks_pip_cache_dir",
    "jobs_slurm_python_worker",
    "ssh_known_hosts",
    "slurm_commands_dir",
    "slurm_conf",
)


def _resource(kind: str) -> Rule:
    def rule(fields: Mapping[str, Any]) -> Wrong:
        yield from texts.name(fields)
        yield from texts.absolute_paths(fields, *_FOLDERS)
        yield from _pip_cache(fields)
        if "tasks_pixi_config" in fields:
            required = kind == "slurm_ssh"
            yield from pixi.pixi_config(
                fields["tasks_pixi_config"], "tasks_pixi_config", slurm_config_required=required
            )
        yield from texts.host(fields)
        if fields.get("tasks_user") == "root":
            yield "tasks_user", "must not be root"

    return rule


def _pip_cache(fields: Mapping[str, Any]) -> Wrong:
    older = fields.get("tasks_pip_cache_dir")
    newer = fields.get("tasks_python_config", {}).get("pip_cache_dir")
    if older is not None and newer is not None and older != newer:
        yield "tasks_pip_cache_dir", "is another than tasks_python_config.pip_cache_dir; give one of them"


def _python(fields: Mapping[str, Any]) -> Wrong:
    yield from pixi.default_version(fields)
    yield from texts.absolute_paths(fields, "pip_cache_dir")


RESOURCE_RULES: Rules = {
    LocalResourceSpec: texts.with_one_line(_resource("local")),
    SlurmSudoResourceSpec: texts.with_one_line(_resource("slurm_sudo")),
    SlurmSshResourceSpec: texts.with_one_line(_resource("slurm_ssh")),
    PythonConfig: texts.with_one_line(_python),
    BuildSlurmConfig: texts.with_one_line(pixi.build_slurm_config),
    SlurmRunnerConfig: texts.with_one_line(slurm.runner_config),
    SlurmConfig: texts.with_one_line(slurm.slurm_config),
    BatchingConfig: texts.with_one_line(slurm.batching_config),
}


def normal_form(spec: ResourceSpec) -> ResourceSpec:
    """Return the spec with its name stripped and its paths normalised; what was not written stays so."""
    python = spec.tasks_python_config
    changes: dict[str, Any] = {
        "name": spec.name.strip(),
        "tasks_python_config": msgspec.structs.replace(
            python,
            versions={version: texts.normalised(path) for version, path in python.versions.items()},
            **_normalised(python, "pip_cache_dir"),
        ),
        **_normalised(spec, *_FOLDERS),
    }
    if spec.tasks_pixi_config is not UNSET and "versions" in spec.tasks_pixi_config:
        versions = {name: texts.normalised(path) for name, path in spec.tasks_pixi_config["versions"].items()}
        changes["tasks_pixi_config"] = {**spec.tasks_pixi_config, "versions": versions}
    return msgspec.structs.replace(spec, **changes)


def _normalised(spec: msgspec.Struct, *names: str) -> dict[str, str]:
    return written_paths(spec, names, texts.normalised)


def written_paths(spec: msgspec.Struct, names: tuple[str, ...], change: Callable[[str], str]) -> dict[str, str]:
    """Return those of the named fields that hold a text, changed."""
    values = {name: getattr(spec, name, UNSET) for name in names}
    return {name: change(value) for name, value in values.items() if isinstance(value, str)}
