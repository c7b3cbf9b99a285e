"""What the builder is asked to do: the arguments file, checked field by field."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from shared.remote.builder.failures import Failure
from shared.remote.builder.packages import names

FORMAT = 1
ACTIONS = ("create", "rebuild", "remove", "measure")
SOURCES = ("pypi", "wheel", "pixi", "existing")


class Fields:
    """A JSON object whose fields are asked for by name and type; what is wrong is a Failure that names the field."""

    def __init__(self, values: object, where: str = "") -> None:
        if not isinstance(values, dict):
            raise Failure("request_invalid", f"{where or 'the request'} is not an object")
        self._values: Mapping[str, object] = values
        self._where = f"{where}." if where else ""

    def optional_text(self, name: str) -> str | None:
        """Return a text, None where it is absent or null."""
        value = self._values.get(name)
        if value is None or (isinstance(value, str) and "\0" not in value):
            return value
        raise self._wrong(name, "a text")

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self.optional_text(name)
        if value:
            return value
        raise self._wrong(name, "a text that is not empty")

    def choice(self, name: str, among: tuple[str, ...]) -> str:
        """Return one of the given words."""
        value = self.text(name)
        if value in among:
            return value
        raise self._wrong(name, "one of " + ", ".join(among))

    def optional_path(self, name: str) -> str | None:
        """Return an absolute, normalised path; a relative one is relative to the working folder."""
        value = self.optional_text(name)
        return os.path.abspath(value) if value else None

    def absolute_path(self, name: str) -> str:
        """Return a path that was written as an absolute one."""
        value = self.text(name)
        if os.path.isabs(value) and ".." not in value.split("/"):
            return os.path.normpath(value)
        raise self._wrong(name, "an absolute path without ..")

    def optional_number(self, name: str) -> float | None:
        """Return a number above zero, None where it is absent or null."""
        value = self._values.get(name)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
            return value
        raise self._wrong(name, "a number above 0")

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._values.get(name, default)
        if isinstance(value, bool):
            return value
        raise self._wrong(name, "true or false")

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, empty where it is absent."""
        value = self._values.get(name) or []
        if isinstance(value, list) and all(isinstance(one, str) and one and "\0" not in one for one in value):
            return value
        raise self._wrong(name, "a list of texts")

    def mapping(self, name: str) -> dict[str, str]:
        """Return an object whose values are texts, empty where it is absent."""
        value = self._values.get(name) or {}
        if isinstance(value, dict) and all(isinstance(one, str) and "\0" not in one for one in value.values()):
            return value
        raise self._wrong(name, "an object of texts")

    def pins(self, name: str) -> list[str]:
        """Return `{name: version}` as requirements, in the order in which they were written."""
        label = f"{self._where}{name}"
        return [
            f"{names.package_name(package, label)}=={names.version(version, f'{label}.{package}')}"
            for package, version in self.mapping(name).items()
        ]

    def fields(self, name: str) -> Fields:
        """Return the object in a field."""
        return Fields(self._values.get(name), f"{self._where}{name}")

    def _wrong(self, name: str, expected: str) -> Failure:
        return Failure("request_invalid", f"{self._where}{name} must be {expected}: {self._values.get(name)!r}")


class Request:
    """What all actions have in common; what belongs to a source stays in `source`."""

    def __init__(self, fields: Fields) -> None:
        if fields.optional_number("format") != FORMAT:
            raise Failure("request_invalid", f"this builder knows requests of format {FORMAT} only")
        self.action = fields.choice("action", ACTIONS)
        self.root = fields.absolute_path("root")
        self.environment_id = names.plain_name(fields.text("environment_id"), "environment_id")
        self.source = fields.fields("source")
        self.source_type = self.source.choice("type", SOURCES)
        self.time_limit_seconds = fields.optional_number("time_limit_seconds")
        self.python = fields.optional_path("python")
        self.uv = fields.optional_path("uv")
        self.pip_cache_dir = fields.optional_path("pip_cache_dir")
        self.index_urls = fields.texts("index_urls")
        self.keep = fields.flag("keep", default=False)
        self.compiled = fields.flag("compiled", default=False)
        self.freeze = fields.optional_text("freeze")
        package, version = fields.optional_text("package"), fields.optional_text("version")
        self.package = names.package_name(package) if package else None
        self.version = names.version(version) if version else None

    def known_package(self) -> tuple[str, str]:
        """Return package and version of an environment that was made before."""
        if self.package and self.version:
            return self.package, self.version
        raise Failure("request_invalid", f"package and version must be given to {self.action} an environment")


def read_request(path: str) -> Request:
    """Return the checked request; Failure or OSError."""
    with open(path, "rb") as file:
        try:
            values = json.load(file)
        except ValueError as error:
            raise Failure("request_invalid", f"the request is not JSON: {error}") from error
    return Request(Fields(values))
