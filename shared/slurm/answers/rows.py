"""Rows of fields in which some fields are any user's text.

Names and comments of jobs may hold line ends, separators and whole forged rows. So fields are separated by a nonce
made for this one query, and the first and the last field are ones that SLURM itself fills in: what then looks like a
row is one.
"""

import re
from itertools import pairwise

import msgspec

_WHOLE_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
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
    # Where one row ends and the next begins: the last field of the one, a line end, the first field of the other.
    borders = [token.split("\n") for token in tokens[::step]]
    rows = [
        [before[-1], *tokens[index * step + 1 : (index + 1) * step], after[0]]
        for index, (before, after) in enumerate(pairwise(borders))
    ]
    stray = [*borders[0][:-1], *(line for border in borders[1:-1] for line in border[1:-1]), *borders[-1][1:]]
    if not rows:
        stray = borders[0]
    return Rows(rows, int((len(tokens) - 1) % step != 0), sum(1 for line in stray if line.strip()))


def read_whole_number(text: str) -> int | None:
    """Return a number that is written in at most twelve digits, None for anything else."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None
