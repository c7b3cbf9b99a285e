"""What the builder is asked: pure functions of the request and the resource."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from services.executor.building.pixi_projects import PROJECT_FILES, cut_down, not_usable
from shared.remote.builder.request import FORMAT
from stoker.contracts.environments import (
    EnvironmentCreate,
    EnvironmentFromExisting,
    EnvironmentFromPixi,
    EnvironmentFromPypi,
    EnvironmentFromWheel,
)
from stoker.contracts.problems import FieldError
from stoker.contracts.resources import ResourceSpec, SlurmSudoResourceSpec
from stoker.errors import Invalid

Arguments = dict[str, Any]

_PIXI_VARIABLES = ("PIXI_CONCURRENT_SOLVES", "PIXI_CONCURRENT_DOWNLOADS", "TOKIO_WORKER_THREADS")
_PIXI_DEFAULTS = {"PIXI_CONCURRENT_SOLVES": 4, "PIXI_CONCURRENT_DOWNLOADS": 4, "TOKIO_WORKER_THREADS": 2}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where environments of one resource and profile are made, and with what.

    `root` is the tasks folder on the resource; `uv` a path there, where it may be missing; None: pip does the work.
    """

    root: str
    uv: str | None = None
    index_urls: Sequence[str] = ()
    time_limit_seconds: float | None = None
    pixi_cache_dir: str | None = None


def creation(
    environment_id: str,
    create: EnvironmentCreate,
    spec: ResourceSpec,
    site: Site,
    project_files: Mapping[str, str] | None = None,
) -> Arguments:
    """Return the arguments that make an environment; its file is staged beside the builder under its own name.

    `project_files` are the project files in a pixi archive. Raises Invalid where the resource offers no such Python
    or pixi, or the project cannot be cut down.
    """
    arguments: Arguments = {
        "format": FORMAT,
        "action": "create",
        "root": site.root,
        "environment_id": environment_id,
        "time_limit_seconds": site.time_limit_seconds,
    }
    if isinstance(create, EnvironmentFromExisting):
        return {**arguments, "package": create.package, "source": {"type": "existing", "python": create.path}}
    # Scientists run what is another user's there, and cannot keep what they compile.
    arguments["compiled"] = isinstance(spec, SlurmSudoResourceSpec)
    if isinstance(create, EnvironmentFromPixi):
        return {**arguments, "source": _pixi_source(create, spec, site, project_files or {})}
    arguments |= {
        "python": interpreter(spec, create.python_version),
        "uv": site.uv,
        "pip_cache_dir": _pip_cache_dir(spec),
        "index_urls": list(site.index_urls),
    }
    source: Arguments = {"extras": create.extras, "pre_pins": create.pre_pins, "post_pins": create.post_pins}
    if isinstance(create, EnvironmentFromWheel):
        return {**arguments, "source": {"type": "wheel", "file": create.file_name, **source}}
    package: EnvironmentFromPypi = create
    return {
        **arguments,
        "package": package.package,
        "version": package.version,
        "source": {"type": "pypi", **source},
    }


def rebuilding(
    arguments: Arguments, *, package: str, version: str | None, freeze: str | None, uv: str | None
) -> Arguments:
    """Return the arguments that make it again, from those that made it; `uv` is where it is by now."""
    again = {**arguments, "action": "rebuild", "package": package, "version": version, "freeze": freeze}
    return again | {"uv": uv} if "uv" in arguments else again


def removal(arguments: Arguments, *, package: str, version: str | None, keep: bool) -> Arguments:
    """Return the arguments that remove it; `keep`: all that it can be made of again stays.

    `version` None: it was never known, an unfinished creation is removed wherever it is.
    """
    return {**arguments, "action": "remove", "package": package, "version": version, "keep": keep}


def interpreter(spec: ResourceSpec, version: str | None) -> str:
    """Return the path of the Python that was asked for. Raises Invalid where the resource does not offer it."""
    config = spec.tasks_python_config
    wanted = config.default_version if version is None else version
    path = config.versions.get(wanted)
    if path is None:
        message = f"must be one of {', '.join(config.versions)}, the versions of this resource"
        raise Invalid(f"Python {wanted} is not offered here", [FieldError("python_version", message)])
    return path


def _pip_cache_dir(spec: ResourceSpec) -> str | None:
    for value in (spec.tasks_python_config.pip_cache_dir, spec.tasks_pip_cache_dir):
        if isinstance(value, str):
            return value
    return None


def _pixi_source(
    create: EnvironmentFromPixi, spec: ResourceSpec, site: Site, project_files: Mapping[str, str]
) -> Arguments:
    config = {} if spec.tasks_pixi_config is UNSET else spec.tasks_pixi_config
    versions = config.get("versions", {})
    if not versions:
        raise Invalid("This resource has no pixi", [FieldError("source", "must not be pixi on this resource")])
    wanted = create.pixi_version or config["default_version"]
    if wanted not in versions:
        message = f"must be one of {', '.join(versions)}, the versions of this resource"
        raise Invalid(f"pixi {wanted} is not offered here", [FieldError("pixi_version", message)])
    environment = config.get("DEFAULT_ENVIRONMENT", "default")
    platform = config.get("DEFAULT_PLATFORM", "linux-64")
    name = next((name for name in PROJECT_FILES if name in project_files), None)
    if name is None:
        raise not_usable(f"The archive holds neither {' nor '.join(PROJECT_FILES)}")
    return {
        "type": "pixi",
        "file": create.file_name,
        "home": versions[wanted],
        "environment": environment,
        "use_lock": create.use_lock,
        "cache_dir": site.pixi_cache_dir,
        "project_files": {
            name: cut_down(name, project_files[name], environment=environment, platform=platform),
        },
        "variables": {name: str(config.get(name, _PIXI_DEFAULTS[name])) for name in _PIXI_VARIABLES},
    }
