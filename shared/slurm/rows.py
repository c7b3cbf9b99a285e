"""Rows of fields in which some fields are any user's text.

Names and comments of jobs may hold line ends, separators and whole forged rows. So fields are separated by a nonce
made for this one query, and the first and the last field are ones that SLURM itself fills in: what then looks like a
row is one.
"""

import re

import msgspec

_NONCE = re.compile(r"[0-9a-f]{16,64}", re.ASCII)


class Rows(msgspec.Struct, frozen=True):
    """The rows found; `broken` counts those that were cut or shifted, `noise` the lines that belong to no row."""

    rows: list[list[str]]
    broken: int = 0
    noise: int = 0


def separator(nonce: str) -> str:
    """Return what stands between fields; `nonce` is fresh, 16 to 64 hexadecimal digits."""
    if not _NONCE.fullmatch(nonce):
        raise ValueError("a nonce is 16 to 64 hexadecimal digits")
    return f"\x1f{nonce}\x1f"


def split_rows(text: str, nonce: str, width: int) -> Rows:
    """Return the rows of `width` fields (at least two) in an answer."""
    tokens = text.split(separator(nonce))
    step = width - 1
    rows, noise = [], 0
    whole = (len(tokens) - 1) // step
    for start in range(0, whole * step, step):
        fields = tokens[start : start + width]
        before, _, fields[0] = fields[0].rpartition("\n")
        # What stands before this row in the same token is the last field of the row before, which that row has taken.
        noise += _lines(before) if start == 0 else _lines(before.partition("\n")[2])
        fields[-1] = fields[-1].partition("\n")[0]
        rows.append(fields)
    noise += _lines(tokens[-1].partition("\n")[2]) if whole else _lines(tokens[0])
    return Rows(rows, int((len(tokens) - 1) % step != 0), noise)


def _lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())
