"""Lines that administrators and users add to a batch script: `#SBATCH` options, or shell.

sbatch reads options only down to the first line that is neither empty nor a comment, so options are put before shell
lines, each in the order in which they were written. An option that a field of the configuration can also set is read
as that field, so that everything that follows from it (multiplied GPUs, warnings) holds for it, too.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from shared.slurm.requests.directives import field_option, own_option
from stoker.contracts.problems import FieldError

DIRECTIVE = "#SBATCH"

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNCLEAR = re.compile(r"[\"'\\#]")
_OPTION = re.compile(r"--[A-Za-z][A-Za-z0-9-]*(?:=.*)?|-[A-Za-z].*", re.ASCII)
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
    while words:
        word = words.pop(0)
        if not _OPTION.fullmatch(word):
            yield f'{word} is not an option; write "#SBATCH --option=value"'
            continue
        name, value = _split(word)
        if value is None and words and not words[0].startswith("-"):
            value = words.pop(0)
        shown = word.partition("=")[0] if word.startswith("--") else word[:2]
        if (own := own_option(name)) is not None:
            yield f"{shown} is not allowed here: Stoker sets --{own} itself"
        elif (field := field_option(name)) is None:
            found.options.append((word,) if value is None or value in word else (word, value))
        elif field in written or field in found.fields:
            yield f"{shown} is also given by the field {field} or another line; give it once"
        elif value is None:
            yield f"{shown} needs a value"
        else:
            found.fields[field] = value


def _split(word: str) -> tuple[str, str | None]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return name, value if equals else None
    return word[1], word[2:].removeprefix("=") or None


def option_name(option: tuple[str, ...]) -> str:
    """Return the name of an option that no field stands for, as it was written ("qos", "H")."""
    return _split(option[0])[0]
