"""Memory as configurations write it: an integer is megabytes, and M, G, T are decimal ("3G" is 3000 MB)."""

import re

from stoker.contracts.problems import FieldError
from stoker.errors import Invalid

_WRITTEN = re.compile(r"([1-9][0-9]{0,14})([MGT]?)", re.ASCII)
_MEGABYTES = {"": 1, "M": 1, "G": 1000, "T": 1_000_000}
_PRINTED = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGTP]?)", re.ASCII)


def is_whole_memory(value: object) -> bool:
    """Whether an amount means all memory of a node, as sbatch's `--mem=0` does."""
    return (isinstance(value, int) and not isinstance(value, bool) and value == 0) or value == "0"


def parse_memory(value: int | str, path: str = "mem") -> int:
    """Return megabytes; Invalid, naming `path`, for every other form (lower case, K, fractions, spaces, zero)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value > 0:
            return value
    elif isinstance(value, str) and (found := _WRITTEN.fullmatch(value)):
        return int(found[1]) * _MEGABYTES[found[2]]
    message = (
        f'must be megabytes, such as 8000, or a whole number with M, G or T, such as "71M", "3G", "2T"; not {value!r}'
    )
    raise Invalid(message, [FieldError(path, message)])


def read_bytes(text: str) -> int | None:
    """Return the bytes of an amount as sacct prints it ("3100K", "1.5M"; binary units), None for anything else."""
    found = _PRINTED.fullmatch(text)
    return None if found is None else int(float(found[1]) * 1024 ** " KMGTP".index(found[2] or " "))
