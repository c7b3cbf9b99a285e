"""Lines that administrators and users add to a batch script: `#SBATCH` options, or shell.

sbatch reads options only down to the first line that is neither empty nor a comment, so options are put before shell
lines, each in the order in which they were written. An option that a field of the configuration can also set is read
as that field, so that everything that follows from it (multiplied GPUs, warnings) holds for it, too.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from shared.slurm.requests.directives import FIELD_OPTIONS, OWN_OPTIONS
from shared.slurm.requests.getopt import read_options
from stoker.contracts.problems import FieldError

DIRECTIVE = "#SBATCH"

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNCLEAR = re.compile(r"[\"'\\#]")
_OTHER_SCHEDULERS = ("#PBS", "#BSUB")
_LONGEST = 4096


class ExtraLines(msgspec.Struct, frozen=True):
    """What the lines of one layer say. `fields` are options that a field of the configuration stands for."""

    options: list[tuple[str, ...]] = []
    shell: list[str] = []
    fields: dict[str, str] = {}
    errors: list[FieldError] = []


def read_extra_lines(lines: Sequence[str], path: str, written: Iterable[str]) -> ExtraLines:
    """Read the lines of one layer; `written` are the fields that the same layer sets. Never raises: see `errors`."""
    found = ExtraLines([], [], {}, [])
    for index, line in enumerate(lines):
        for message in _read(line, found, set(written)):
            found.errors.append(FieldError(f"{path}[{index}]", message))
    return found


def _read(line: str, found: ExtraLines, written: set[str]) -> Iterable[str]:
    if _FORBIDDEN.search(line) or len(line) > _LONGEST:
        yield f"must be one line without control characters, of at most {_LONGEST} characters"
    elif line.lstrip().startswith(_OTHER_SCHEDULERS):
        yield 'is for another scheduler; write "#SBATCH --option=value"'
    elif not line.startswith(DIRECTIVE):
        found.shell.append(line)
    elif _UNCLEAR.search(line, len(DIRECTIVE)):
        yield "an #SBATCH line must not contain quotes, backslashes or a further #"
    else:
        yield from _read_options(line.removeprefix(DIRECTIVE), found, written)


def _read_options(text: str, found: ExtraLines, written: set[str]) -> Iterable[str]:
    words = text.split()
    if not words or not text.startswith((" ", "\t")):
        yield 'must be "#SBATCH --option=value"'
        return
    for option in read_options(words):
        if isinstance(option, str):
            yield option
        elif option.name in OWN_OPTIONS:
            yield f"{option.shown} is not allowed here: Stoker sets --{option.name} itself"
        elif option.name not in FIELD_OPTIONS:
            found.options.append(option.words)
        elif option.name in written or option.name in found.fields:
            yield f"{option.shown} is also given by the field {option.name} or another line; give it once"
        elif option.value is None:
            yield f"{option.shown} needs a value"
        else:
            found.fields[option.name] = option.value


def option_name(option: tuple[str, ...]) -> str:
    """Return the full name of an option that no field stands for."""
    (read,) = read_options(option)
    return read if isinstance(read, str) else read.name
