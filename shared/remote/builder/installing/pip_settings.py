"""The settings of pip that a person or administrator made on this machine, and the same said to uv.

pip reads its configuration files itself; uv knows none of them, so that a machine whose packages come from an index
of its own would be lost with it.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping

_PREFIX = "PIP_"
_SECTIONS = ("global", "install")
_UV_NAMES = {
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "ALL_PROXY",
    "keyring-provider": "UV_KEYRING_PROVIDER",
}
_UV_INDEX_NAMES = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}


def pip_settings(environment: Mapping[str, str], prefix: str | None) -> dict[str, str]:
    """Return pip's settings by their long names; `prefix` is the folder of the interpreter whose pip it would be."""
    settings: dict[str, str] = {}
    for path in _files(environment, prefix):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip would refuse to work at all; that is not to be repeated here
        for section in _SECTIONS:
            if parser.has_section(section):
                settings.update({key.replace("_", "-"): value for key, value in parser.items(section) if value})
    for name, value in environment.items():
        if name.startswith(_PREFIX) and value:
            settings[name[len(_PREFIX) :].lower().replace("_", "-")] = value
    return settings


def _files(environment: Mapping[str, str], prefix: str | None) -> Iterator[str]:
    """Yield pip's configuration files, the later ones winning."""
    only = environment.get("PIP_CONFIG_FILE")
    if only == os.devnull:
        return
    home = environment.get("HOME", "/")
    for folder in reversed(environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
        yield os.path.join(folder, "pip", "pip.conf")
    yield "/etc/pip.conf"
    yield os.path.join(home, ".pip", "pip.conf")
    yield os.path.join(environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip", "pip.conf")
    if prefix:
        yield os.path.join(prefix, "pip.conf")
    if only:
        yield only


def for_uv(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables that say the same to uv. What was said to uv itself is left as it is."""
    names = dict(_UV_NAMES)
    if not _has_own_indexes(environment):
        names.update(_UV_INDEX_NAMES)
    said = {}
    for key, name in names.items():
        value = settings.get(key)
        if value and name not in environment:
            separator = "," if name == "UV_FIND_LINKS" else " "
            said[name] = separator.join(value.split())
    if _is_true(settings.get("pre")):
        said.setdefault("UV_PRERELEASE", "allow")
    return said


def uv_options(settings: Mapping[str, str]) -> list[str]:
    """Return what can only be said to uv by options."""
    return ["--no-index"] if _is_true(settings.get("no-index")) else []


def _has_own_indexes(environment: Mapping[str, str]) -> bool:
    if any(name in environment for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_CONFIG_FILE")):
        return True
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
    return any(os.path.exists(os.path.join(folder, "uv", "uv.toml")) for folder in (home, "/etc/xdg", "/etc"))


def _is_true(value: str | None) -> bool:
    return value is not None and value.strip().lower() in {"1", "true", "yes", "on"}
