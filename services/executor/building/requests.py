"""What is kept of a request for an environment, and what makes two of them ask for the same thing."""

import hashlib

import msgspec

from services.executor.building.versions import canonical_name
from stoker.contracts.environments import (
    EnvironmentCreate,
    EnvironmentFromExisting,
    EnvironmentFromPixi,
    EnvironmentFromPypi,
    EnvironmentFromWheel,
    Source,
)

_SOURCES: dict[type, Source] = {
    EnvironmentFromPypi: "pypi",
    EnvironmentFromWheel: "wheel",
    EnvironmentFromPixi: "pixi",
    EnvironmentFromExisting: "existing",
}


class StoredRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request without the content of its file. Names are canonical, `python` is the interpreter's path.

    `place` is where it is made: two requests are never the same on two resources, or for two users of a cluster
    reached through SSH.
    """

    source: Source
    place: str
    package: str
    version: str | None = None
    extras: list[str] = []
    pre_pins: dict[str, str] = {}
    post_pins: dict[str, str] = {}
    python: str | None = None
    python_version: str | None = None
    file_name: str | None = None
    file_sha256: str | None = None
    pixi_version: str | None = None
    use_lock: bool = True
    path: str | None = None

    def identity(self) -> str:
        """The same text for requests that ask for the same thing."""
        written = msgspec.structs.replace(self, python_version=None)
        return hashlib.sha256(msgspec.json.encode(written, order="sorted")).hexdigest()


def stored_request(
    create: EnvironmentCreate, *, place: str, package: str, version: str | None, python: str | None
) -> StoredRequest:
    """What is kept. `package` and `version`: of the file, where the request came with one."""
    kept = StoredRequest(
        source=_SOURCES[type(create)],
        place=place,
        package=canonical_name(package),
        version=version,
        python=python,
    )
    if isinstance(create, EnvironmentFromExisting):
        return msgspec.structs.replace(kept, path=create.path)
    if isinstance(create, EnvironmentFromPixi):
        kept = msgspec.structs.replace(kept, pixi_version=create.pixi_version, use_lock=create.use_lock)
    else:
        kept = msgspec.structs.replace(
            kept,
            extras=sorted({canonical_name(extra) for extra in create.extras}),
            pre_pins={canonical_name(name): pin for name, pin in create.pre_pins.items()},
            post_pins={canonical_name(name): pin for name, pin in create.post_pins.items()},
            python_version=create.python_version,
        )
    if isinstance(create, EnvironmentFromPypi):
        return kept
    sha256 = hashlib.sha256(create.content).hexdigest()
    return msgspec.structs.replace(kept, file_name=create.file_name, file_sha256=sha256)
