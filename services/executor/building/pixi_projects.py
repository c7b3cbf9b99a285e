"""A pixi project cut down to one platform and one environment, so that nothing else is solved or downloaded."""

import tomllib
from typing import Any

import tomli_w

from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

PROJECT_FILES = ("pixi.toml", "pyproject.toml")
_FAMILIES = {"linux": ("unix",), "osx": ("unix", "macos")}


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
    _keep_platform(pixi, platform)
    for name, feature in _tables(pixi, "feature").items():
        if isinstance(listed := feature.get("platforms"), list):
            if platform not in listed:
                raise not_usable(f"{file_name}: feature {name} does not support the platform {platform}")
            feature["platforms"] = [platform]
        _keep_platform(feature, platform)
    return tomli_w.dumps(project)


def _keep_environment(pixi: dict[str, Any], environment: str, file_name: str) -> None:
    """Leave one environment, and the features that it is made of: pixi warns of those that nothing uses."""
    environments = pixi.get("environments")
    features: Any = []
    if isinstance(environments, dict) and environment in environments:
        pixi["environments"] = {environment: environments[environment]}
        features = environments[environment]
        features = features.get("features", []) if isinstance(features, dict) else features
    elif environment == "default":  # is there without being written
        pixi.pop("environments", None)
    else:
        raise not_usable(f"{file_name} has no environment {environment}")
    if isinstance(pixi.get("feature"), dict) and isinstance(features, list):
        pixi["feature"] = {name: feature for name, feature in pixi["feature"].items() if name in features}
    if not pixi.get("feature"):
        pixi.pop("feature", None)


def _keep_platform(table: dict[str, Any], platform: str) -> None:
    """Leave what is for one platform. Commands of people (`tasks`), which may name other environments, go as well."""
    targets = {name: target for name, target in _tables(table, "target").items() if name in _selectors(platform)}
    table.pop("target", None)
    if targets:
        table["target"] = targets
    for part in (table, *targets.values()):
        part.pop("tasks", None)


def _selectors(platform: str) -> set[str]:
    """The names by which a target can mean this platform."""
    system = platform.partition("-")[0]
    return {platform, system, *_FAMILIES.get(system, ())}


def _tables(table: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    found = table.get(name)
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}


def not_usable(text: str) -> Invalid:
    """What to raise for an archive that no environment can be made of."""
    return Invalid(text, [FieldError("content", text)])


def _table(table: dict[str, Any], name: str, file_name: str) -> dict[str, Any]:
    found = table.get(name)
    if isinstance(found, dict):
        return found
    raise not_usable(f"{file_name} has no table [tool.pixi]")
