"""Task environments: what is asked for, what is there, and what is being done to it."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from stoker.contracts.jobs import Reason
from stoker.contracts.resources import AbsolutePath

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Of a wheel or a pixi archive that is sent with a request."""

PackageName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        max_length=200,
        description="a package's name",
        examples=["fractal-tasks-core"],
    ),
]
PackageVersion = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.!+_-]*[A-Za-z0-9])?$",
        max_length=200,
        description="a version",
        examples=["1.5.0"],
    ),
]
FileName = Annotated[str, Meta(pattern=r"^[^/\0]+$", max_length=255, description="a file name without a folder")]

Source = Literal["pypi", "wheel", "pixi", "existing"]
EnvironmentState = Literal["creating", "ready", "inactive", "failed", "deleting"]
ActivityKind = Literal["create", "deactivate", "reactivate", "delete"]
ActivityState = Literal["pending", "ongoing", "done", "failed", "cancelled"]

FINAL_ACTIVITY_STATES: frozenset[str] = frozenset({"done", "failed", "cancelled"})


class _Create(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="source"):
    profile_id: str
    """On whose resource it is made; on SSH resources it is made as this profile's user."""


class _Installed(_Create, forbid_unknown_fields=True, kw_only=True):
    """What installing with uv or pip may be told. Pins are `{"name": "version"}`.

    `pre_pins` hold while the package is installed; `post_pins` are installed after it, whatever it says it needs.
    """

    python_version: str | None = None
    """A key of the resource's `tasks_python_config.versions`; its default where this is left out."""
    extras: list[PackageName] = []
    pre_pins: dict[PackageName, PackageVersion] = {}
    post_pins: dict[PackageName, PackageVersion] = {}


class EnvironmentFromPypi(_Installed, tag="pypi", forbid_unknown_fields=True, kw_only=True):
    """A package of the index, in its newest version where none is given."""

    package: PackageName
    version: PackageVersion | None = None


class EnvironmentFromWheel(_Installed, tag="wheel", forbid_unknown_fields=True, kw_only=True):
    """A wheel that is sent along; `content` is base64."""

    file_name: FileName
    content: bytes


class EnvironmentFromPixi(_Create, tag="pixi", forbid_unknown_fields=True, kw_only=True):
    """A pixi project, `NAME-VERSION.tar.gz` with everything in one folder of that name; `content` is base64."""

    file_name: FileName
    content: bytes
    pixi_version: str | None = None
    """A key of the resource's `tasks_pixi_config.versions`; its default where this is left out."""
    use_lock: bool = True
    """Whether exactly what the archive's lock file names is installed, where it has one."""


class EnvironmentFromExisting(_Create, tag="existing", forbid_unknown_fields=True, kw_only=True):
    """What somebody else made on the resource: `path` is its folder or its Python; it is never changed."""

    path: AbsolutePath
    package: PackageName


EnvironmentCreate = EnvironmentFromPypi | EnvironmentFromWheel | EnvironmentFromPixi | EnvironmentFromExisting


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an environment; its log can be read while it runs."""

    id: str
    environment_id: str
    kind: ActivityKind
    state: ActivityState
    owner: str
    created_at: datetime
    reason: Reason | None = None
    waiting_for: str | None = None
    """What keeps an activity that is not final from going on, in words."""
    cancel_requested_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment. Version, folder and what follows are known once it was made."""

    id: str
    state: EnvironmentState
    source: Source
    package: str
    resource_id: str
    profile_id: str
    owner: str
    created_at: datetime
    updated_at: datetime
    version: str | None = None
    extras: list[str] = []
    pre_pins: dict[str, str] = {}
    post_pins: dict[str, str] = {}
    python_version: str | None = None
    """As it was asked for, the key of the resource's configuration; in full once the environment was made."""
    installer: str | None = None
    folder: str | None = None
    disk_bytes: int | None = None
    task_names: list[str] = []
    reason: Reason | None = None
    activity: Activity | None = None
    """The latest one."""


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly what is in an environment: a line per distribution, and pixi's lock file where there is one."""

    freeze: str
    freeze_sha256: str
    lock: str | None = None
