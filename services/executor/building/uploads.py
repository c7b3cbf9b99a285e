"""Files that came with a request, looked at before anything is stored or sent to a resource."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.executor.building.pixi_projects import PROJECT_FILES, not_usable
from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.archives import ArchiveName, read_members
from shared.remote.builder.packages.wheel_names import WheelName
from shared.remote.builder.packages.wheels import check_wheel, read_wheel_manifest
from stoker.contracts.environments import MAX_FILE_BYTES
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

_OF_SDISTS = "PKG-INFO"


def read_wheel(file_name: str, content: bytes) -> WheelName:
    """Return what a wheel is, which holds a good manifest.

    Blocks: use a thread. Raises Invalid, whose slug is the builder's code.
    """
    with _as_file(file_name, content) as path, _as_invalid():
        name = check_wheel(str(path))
        read_wheel_manifest(str(path))
        return name


def read_archive(file_name: str, content: bytes) -> tuple[ArchiveName, dict[str, str]]:
    """Return what a pixi archive is, and its project files. Blocks: use a thread. Raises Invalid as above."""
    with _as_file(file_name, content) as path, _as_invalid():
        name = ArchiveName(file_name)
        found = read_members(str(path), (*PROJECT_FILES, _OF_SDISTS))
    if found.pop(_OF_SDISTS, None) is not None and not any(b"pixi" in text for text in found.values()):
        raise not_usable(
            f"{file_name} is a source distribution, not a pixi project: send a wheel, or name the package"
        )
    try:
        return name, {member: data.decode() for member, data in found.items()}
    except UnicodeDecodeError as error:
        raise not_usable(f"A project file in {file_name} is not text") from error


@contextmanager
def _as_file(file_name: str, content: bytes) -> Iterator[Path]:
    if len(content) > MAX_FILE_BYTES:
        message = f"must have at most {MAX_FILE_BYTES:,} bytes"
        raise Invalid("The file is too large", [FieldError("content", message)])
    if "/" in file_name or file_name in {".", ".."}:
        raise Invalid("The file's name is not a name", [FieldError("file_name", "must be a name without a folder")])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name
        path.write_bytes(content)
        yield path


@contextmanager
def _as_invalid() -> Iterator[None]:
    try:
        yield
    except Failure as failure:
        field = "file_name" if failure.code.endswith(("name_invalid", "is_sdist")) else "content"
        raise Invalid(
            failure.text, [FieldError(field, failure.text)], slug=failure.code.replace("_", "-")
        ) from failure
