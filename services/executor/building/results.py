"""What the builder answers, in its out file, which code of packages may have written: all of it fits the columns."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.remote.builder.request import FORMAT
from stoker.contracts.jobs import Reason

_Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Line = Annotated[str, Meta(max_length=1000, pattern=r"\A[^\x00]*\Z")]


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that is there; after a removal only `disk_bytes` and `files`."""

    command: list[str] = []
    """What the path of a task's executable is appended to."""
    package: _Line | None = None
    version: _Line | None = None
    installed_version: _Line | None = None
    python_version: str | None = None
    folder: str | None = None
    package_folder: str | None = None
    freeze: str | None = None
    freeze_sha256: str | None = None
    lock: str | None = None
    manifest: dict[str, Any] | None = None
    installer: str | None = None
    disk_bytes: _Size | None = None
    files: _Size | None = None
    made_before: bool = False


class _Error(msgspec.Struct, frozen=True):
    code: str
    text: str


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    outcome: str
    environment: Built | None = None
    error: _Error | None = None


def read_result(output: Any) -> Built | Reason:
    """Return what was built, or why nothing was. An answer that makes no sense is a reason, too."""
    try:
        answer = msgspec.convert(output, _Answer)
    except msgspec.ValidationError as error:
        return Reason(code="builder_failed", text=f"the builder's answer makes no sense: {error}")
    if answer.format != FORMAT:
        return Reason(code="builder_failed", text=f"the builder answered in format {answer.format}, not {FORMAT}")
    if answer.error is not None:
        return Reason(code=answer.error.code, text=answer.error.text)
    return answer.environment or Reason(code="builder_failed", text="the builder's answer is empty")


def command_of(built: Built, executable: str) -> list[str]:
    """Return a task's command; arguments are appended."""
    return [*built.command, f"{built.package_folder}/{executable}"]
