"""Rules for profiles, and the normal form in which they are stored."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.registry.rules import texts
from services.registry.rules.resources import written_paths
from services.registry.rules.texts import Wrong
from shared.service.web.bodies.errors import Rules
from stoker.contracts.profiles import LocalProfileSpec, ProfileSpec, SlurmSshProfileSpec, SlurmSudoProfileSpec

_FOLDERS = ("ssh_key_path", "jobs_remote_dir", "tasks_remote_dir", "pixi_cache_dir", "cache_dir")


def _profile(fields: Mapping[str, Any]) -> Wrong:
    yield from texts.name(fields)
    yield from texts.absolute_paths(fields, *_FOLDERS)


def _sudo_profile(fields: Mapping[str, Any]) -> Wrong:
    if fields.get("username") == "root":
        yield "username", "must not be root: jobs run as an ordinary user"
    yield from _profile(fields)


PROFILE_RULES: Rules = {
    LocalProfileSpec: texts.with_one_line(_profile),
    SlurmSudoProfileSpec: texts.with_one_line(_sudo_profile),
    SlurmSshProfileSpec: texts.with_one_line(_profile),
}


def normal_form(spec: ProfileSpec) -> ProfileSpec:
    """Return the spec with its name stripped and its paths normalised."""
    return msgspec.structs.replace(spec, name=spec.name.strip(), **written_paths(spec, _FOLDERS, texts.normalised))
