"""Tasks: the named commands of environments, and how one is run."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stoker.contracts.needs import PartNeeds

MAX_COMPUTE_UNITS = 100_000
"""How many compute units the init of a compound task may ask for."""

TaskType = Literal["non_parallel", "parallel", "compound", "converter_non_parallel", "converter_compound"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task of an environment, as its package's manifest describes it.

    `non_parallel` is what runs once (the init of a compound task), `parallel` what runs for each image. `warnings`
    say what of the manifest has no effect, where there is something.
    """

    id: str
    environment_id: str
    package: str
    package_version: str
    name: str
    type: TaskType
    needs_non_parallel: PartNeeds | None = None
    needs_parallel: PartNeeds | None = None
    input_types: dict[str, bool] = {}
    output_types: dict[str, bool] = {}
    args_schema_non_parallel: dict[str, Any] | None = None
    args_schema_parallel: dict[str, Any] | None = None
    args_schema_version: str | None = None
    docs_info: str | None = None
    docs_link: str | None = None
    category: str | None = None
    modality: str | None = None
    tags: list[str] = []
    authors: str | None = None
    warnings: list[str] | UnsetType = UNSET


class TaskRun(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to run: one task on one data set. `task` is the name of a task of the environment.

    A parallel task runs once for each of `zarr_urls`. The arguments are the user's own: what every task gets
    (`zarr_url`, `zarr_urls`, `zarr_dir`, `init_args`) is added. The needs change what the package's manifest says.
    """

    environment_id: str
    task: Annotated[str, Meta(min_length=1)]
    zarr_dir: str | None = None
    zarr_urls: list[Annotated[str, Meta(min_length=1)]] = []
    arguments_non_parallel: dict[str, Any] = {}
    arguments_parallel: dict[str, Any] = {}
    needs_non_parallel: PartNeeds = PartNeeds()
    needs_parallel: PartNeeds = PartNeeds()


class ImageUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image that a task made or changed."""

    zarr_url: Annotated[str, Meta(min_length=1)]
    origin: str | None = None
    attributes: dict[str, Any] | None = None
    types: dict[str, bool] | None = None


class TaskOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a task says about images; also what it may say nothing about."""

    image_list_updates: list[ImageUpdate] | None = None
    image_list_removals: list[str] | None = None


class ComputeUnit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One element of the init's answer."""

    zarr_url: Annotated[str, Meta(min_length=1)]
    init_args: dict[str, Any] | None = None


class InitOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the init of a compound task answers."""

    parallelization_list: list[ComputeUnit] | None = None
