"""What a submit call has to fulfil beyond its types: pure functions that name every wrong field."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from shared.remote.runner.units.environment import CACHE_VARIABLES
from shared.service.web.bodies.expectations import cut
from stoker.contracts.jobs import MAX_FILES_BYTES, MAX_UNITS, JobSubmit
from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

_MAX_ERRORS = 100
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 1024
# A program is given 2 MB of arguments and variables by the kernel, at most.
_MAX_ARGUMENTS = 100_000
_MAX_COMMAND_CHARACTERS = 2 * 1024 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ARGUMENT = re.compile(r"\{args\.([^{}]+)\}")
_OWN_VARIABLES = ("STOKER_", "FRACTAL_CACHE_DIR")


def check_way(submit: JobSubmit) -> None:
    """Raise Invalid unless the call says what to run in one of both ways: a command and units, or a task."""
    if submit.task is None:
        errors = [FieldError("command", "must not be empty: it is what to run")] if not submit.command else []
        if not submit.units:
            errors.append(FieldError("units", "must hold at least one unit"))
        if errors and not submit.command and not submit.units:
            errors.append(FieldError("task", "is the other way to say what to run, without command and units"))
    else:
        words = "must be left out: it follows from the task"
        errors = [FieldError(name, words) for name in ("command", "units") if getattr(submit, name)]
    if errors:
        raise Invalid("A job runs a command for its units, or a task of an environment", errors)


def check_submission(submit: JobSubmit) -> dict[str, bytes]:
    """The files of a submit call, decoded. Raises Invalid, whose `errors` name each wrong field."""
    files: dict[str, bytes] = {}
    others = chain(_texts(submit), _environment(submit), _files(submit.files, files))
    # Each only where those before it found nothing, because it looks at more.
    for found in (_limits(submit), others, _missing_arguments(submit.command, submit.units)):
        if errors := list(islice(found, _MAX_ERRORS)):
            raise Invalid("The job cannot be accepted as it is", errors)
    return files


def _limits(submit: JobSubmit) -> Iterator[FieldError]:
    if len(submit.units) > MAX_UNITS:
        yield FieldError("units", f"has {len(submit.units):,} units, the limit is {MAX_UNITS:,} a job")
    for name, texts in (("command", submit.command), ("environment", submit.environment)):
        if len(texts) > _MAX_ARGUMENTS:
            yield FieldError(name, f"has {len(texts):,} entries, the limit is {_MAX_ARGUMENTS:,}")
        elif sum(map(len, texts)) > _MAX_COMMAND_CHARACTERS:
            yield FieldError(
                name, f"is longer than {_MAX_COMMAND_CHARACTERS:,} characters: no program can be given it"
            )


def _texts(submit: JobSubmit) -> Iterator[FieldError]:
    if "\0" in submit.name:
        yield FieldError("name", "must not hold a NUL character")
    if not submit.command[0]:
        yield FieldError("command[0]", "must not be empty: it is the program to run")
    for i, argument in enumerate(submit.command):
        if "\0" in argument:
            yield FieldError(f"command[{i}]", "must not hold a NUL character")
    if submit.cache_dir is not None and ("\0" in submit.cache_dir or ".." in submit.cache_dir.split("/")):
        yield FieldError("cache_dir", 'must be an absolute path without "..", such as "/data/me/cache"')


def _environment(submit: JobSubmit) -> Iterator[FieldError]:
    for name, value in submit.environment.items():
        path = f"environment.{cut(name)}"
        if not _VARIABLE.fullmatch(name):
            yield FieldError(path, "is no variable name: letters, digits and _, not a digit first")
        elif name.startswith(_OWN_VARIABLES):
            instead = "set cache_dir instead" if name in CACHE_VARIABLES else "choose another name"
            yield FieldError(path, f"is set by Stoker itself; {instead}")
        if "\0" in value:
            yield FieldError(path, "must not hold a NUL character")


def _files(files: Mapping[str, str], decoded: dict[str, bytes]) -> Iterator[FieldError]:
    total = 0
    for name, content in files.items():
        path = f"files.{cut(name)}"
        if why := _unsafe(name):
            yield FieldError(path, f"{why}; a valid name is relative and normalised, such as input/table.csv")
        try:
            decoded[name] = base64.b64decode(content, validate=True)
            total += len(decoded[name])
        except (binascii.Error, ValueError):
            yield FieldError(path, "must be the file's content in base64 (RFC 4648, padded)")
    if total > MAX_FILES_BYTES:
        yield FieldError("files", f"hold {total:,} bytes together, the limit is {MAX_FILES_BYTES:,}")
    for name in filter(_is_short, files):
        parts = name.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts))]
        if clash := next((folder for folder in above if folder in files), None):
            yield FieldError(f"files.{cut(name)}", f"needs a folder {cut(clash)!r}, which is a file here")


def _is_short(name: str) -> bool:
    return len(name) <= _MAX_PATH_BYTES


def _unsafe(name: str) -> str | None:
    parts = name.split("/")
    if name.startswith("/"):
        return "must not be absolute"
    if ".." in parts:
        return "must not hold `..`"
    if "" in parts or "." in parts:
        return "must not hold empty parts or `.`"
    if "\0" in name:
        return "must not hold a NUL character"
    if len(name.encode()) > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        return f"must have at most {_MAX_NAME_BYTES} bytes a part and {_MAX_PATH_BYTES} in all"
    return None


def _missing_arguments(command: Sequence[str], units: Sequence[Mapping[str, Any]]) -> Iterator[FieldError]:
    names = {name for argument in command for name in _ARGUMENT.findall(argument)}
    if not names:
        return
    for i, unit in enumerate(units):
        if not names <= unit.keys():
            for name in sorted(names - unit.keys()):
                shown = cut(name)
                yield FieldError(
                    f"units[{i}]", f"has no argument {shown!r}, which the command uses as {{args.{shown}}}"
                )
