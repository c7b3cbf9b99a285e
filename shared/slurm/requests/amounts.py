"""What options ask for per unit, multiplied by the units at once: licences, space in /tmp, generic resources.

What is written in a way that cannot be multiplied is None here, and makes units run one at a time.
"""

import re

_COUNTED = re.compile(
    r"(?P<what>[\w.@/-]+(?::(?!\d+[KMGTP]?$)[\w.-]+)?)(?::(?P<count>\d{1,12})(?P<unit>[KMGTP]?))?", re.ASCII
)
_SIZE = re.compile(r"(?P<number>\d{1,12})(?P<unit>[KMGT]?)", re.ASCII)
_LISTS = ("licenses", "gres")
_SIZES = ("tmp",)
_ALONE = ("bb",)
"""Options that ask for something of which units at once would need more, in a language of their own."""

_LETTERS = {"L": "licenses"}


def multiplied_list(text: str, factor: int) -> str | None:
    """Multiply "matlab:2,comsol@server", "lscratch:10G", "shard:2"; None for alternatives and the like."""
    found = [_COUNTED.fullmatch(entry) for entry in text.split(",")]
    if not all(found):
        return None
    return ",".join(f"{one['what']}:{int(one['count'] or 1) * factor}{one['unit'] or ''}" for one in found if one)


def multiplied_option(option: tuple[str, ...], factor: int) -> tuple[str, ...] | None:
    """Return an `#SBATCH` option for `factor` units at once; as it is where it asks for nothing that they share."""
    name, value = _parts(option)
    kind = _kind(name)
    if kind is None or factor == 1:
        return option
    if kind in _LISTS:
        times = multiplied_list(value, factor)
    elif kind in _SIZES and (size := _SIZE.fullmatch(value)):
        times = f"{int(size['number']) * factor}{size['unit']}"
    else:
        times = None
    return None if times is None else (f"--{kind}={times}",)


def _kind(name: str) -> str | None:
    known = (*_LISTS, *_SIZES, *_ALONE)
    return _LETTERS.get(name) or next((one for one in known if len(name) > 1 and one.startswith(name)), None)


def _parts(option: tuple[str, ...]) -> tuple[str, str]:
    word = option[0]
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
    else:
        name, equals, value = word[1], "", word[2:].removeprefix("=")
    return name, value if equals or len(option) == 1 else option[1]
