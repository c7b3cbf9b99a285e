"""A pixi project cut down to one platform and one environment, so that nothing else is solved or downloaded."""

import tomllib
from typing import Any

import tomli_w

from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

PROJECT_FILES = ("pixi.toml", "pyproject.toml")


def cut_down(file_name: str, text: str, *, environment: str, platform: str) -> str:
    """Return the project file (`pixi.toml`, or `pyproject.toml` with `[tool.pixi]`) with only these left.

    Raises Invalid where it is no pixi project, or has no such environment or platform.
    """
    try:
        project = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise not_usable(f"{file_name} is not valid TOML: {error}") from error
    pixi = project if file_name == "pixi.toml" else _table(_table(project, "tool", file_name), "pixi", file_name)
    workspace = next((name for name in ("workspace", "project") if isinstance(pixi.get(name), dict)), None)
    if workspace is None:
        raise not_usable(f"{file_name} has no table [workspace] of pixi")
    platforms = pixi[workspace].get("platforms", [])
    if platform not in platforms:
        raise not_usable(f"{file_name} does not support the platform {platform}")
    pixi[workspace]["platforms"] = [platform]
    _keep_environment(pixi, environment, file_name)
    return tomli_w.dumps(project)


def _keep_environment(pixi: dict[str, Any], environment: str, file_name: str) -> None:
    environments = pixi.get("environments")
    if isinstance(environments, dict) and environment in environments:
        pixi["environments"] = {environment: environments[environment]}
    elif environment == "default":  # is there without being written
        pixi.pop("environments", None)
    else:
        raise not_usable(f"{file_name} has no environment {environment}")


def not_usable(text: str) -> Invalid:
    """What to raise for an archive that no environment can be made of."""
    return Invalid(text, [FieldError("content", text)])


def _table(table: dict[str, Any], name: str, file_name: str) -> dict[str, Any]:
    found = table.get(name)
    if isinstance(found, dict):
        return found
    raise not_usable(f"{file_name} has no table [tool.pixi]")
