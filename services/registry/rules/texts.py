"""Rules for single values: each yields what is wrong, in words that show the valid form."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.service.web.bodies.errors import Rule
from shared.service.web.bodies.expectations import join
from shared.slurm.requests.memory import parse_memory
from stoker.errors import Invalid

Wrong = Iterator[tuple[str, str]]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+\]\Z")
_TIME = re.compile(r"([0-9]+(:[0-5]?[0-9]){0,2}|[0-9]+-[0-9]{1,2}(:[0-5]?[0-9]){0,2}|UNLIMITED|INFINITE)\Z")
_PORT = re.compile(r"0*[0-9]{1,5}\Z", re.ASCII)
_MAX_PORT = 65535


def one_line(fields: Mapping[str, Any]) -> Wrong:
    """No line breaks and other control characters (tabs are fine) in the texts of one object.

    Looks at texts and at lists and tables of them; objects inside have a rule of their own.
    """
    for field, value in fields.items():
        if isinstance(value, str):
            yield from _one_line(value, field)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from _one_line(item, join(field, index))
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from _one_line(key, join(field, key))
                yield from _one_line(item, join(field, key))


def _one_line(value: object, path: str) -> Wrong:
    if isinstance(value, str) and _CONTROL.search(value):
        yield path, "must be one line without control characters"


def with_one_line(rule: Rule) -> Rule:
    """Return the rule with that check added."""

    def both(fields: Mapping[str, Any]) -> Wrong:
        yield from one_line(fields)
        yield from rule(fields)

    return both


def name(fields: Mapping[str, Any]) -> Wrong:
    """A name has something in it besides spaces."""
    if "name" in fields and not fields["name"].strip():
        yield "name", "must not be empty"


def absolute_path(value: str, path: str) -> Wrong:
    """An absolute path stays where it says: no `..` in it."""
    if ".." in value.split("/"):
        yield path, 'must be an absolute path without "..", such as "/data/stoker"'


def absolute_paths(fields: Mapping[str, Any], *names: str) -> Wrong:
    """Check those of the named fields that are written (and not null)."""
    for field in names:
        if isinstance(fields.get(field), str):
            yield from absolute_path(fields[field], field)


def normalised(path: str) -> str:
    """Return `/a/b` for `/a//b/./` (and for `//a/b`, which POSIX leaves open)."""
    return posixpath.normpath("/" + path.lstrip("/"))


def relative_path(value: str, path: str) -> Wrong:
    """A relative path stays below where it starts."""
    if not value or value.startswith("/") or ".." in value.split("/"):
        yield path, 'must be a relative path without "..", such as "models/cellpose"'


def memory(value: int | str, path: str) -> Wrong:
    """An amount of memory in one of the valid forms."""
    try:
        parse_memory(value)
    except Invalid as error:
        yield path, error.message


def time_limit(value: str, path: str) -> Wrong:
    """A time limit as sbatch takes it."""
    if not _TIME.match(value):
        yield path, 'must be minutes ("90"), "hours:minutes:seconds" ("02:30:00") or "days-hours:minutes:seconds"'


def host(fields: Mapping[str, Any]) -> Wrong:
    """`name`, `name:port`, an IPv4 address or a bracketed IPv6 address; a port is given once, or twice the same."""
    if "host" not in fields:
        return
    text: str = fields["host"]
    address, separator, port = (
        text.rpartition(":") if re.search(r"(\A[^:\[\]]+|\]):[^:\]]*\Z", text) else (text, "", "")
    )
    right = _HOST.match(address) or _BRACKETED.match(address)
    if not right or (separator and not (_PORT.match(port) and 1 <= int(port[-5:]) <= _MAX_PORT)):
        yield "host", 'must be "name" or "name:port", such as "login.example.org:2222"'
    elif separator and "port" in fields and fields["port"] != int(port[-5:]):
        yield "port", f"is another than in host ({port}); give it once"
