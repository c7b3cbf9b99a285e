"""GPUs as `--gres` and `--gpus` write them: per unit in configurations, multiplied by the units that run at once."""

import re

from shared.slurm.requests.amounts import multiplied_list

_GPU_ENTRY = re.compile(r"((?:gres[:/])?gpu(?::(?!\d+(?:\(|$))[\w.-]+)?)(?::(\d{1,4}))?((?:\([\w:,-]*\))?)", re.ASCII)
_OTHER_ENTRY = re.compile(r"(?!(?:gres[:/])?gpu\b)[\w./-]+(?::[\w.-]+){0,2}", re.ASCII)
_GPUS = re.compile(r"(?:([A-Za-z_][\w.-]*):)?(\d{1,4})", re.ASCII)


def count_gres(text: str) -> int | None:
    """Return how many GPUs `--gres=TEXT` asks for; None where that cannot be told."""
    total = 0
    for entry in _entries(text):
        if found := _GPU_ENTRY.fullmatch(entry):
            total += int(found[2] or 1)
        elif not _OTHER_ENTRY.fullmatch(entry):
            return None
    return total


def multiply_gres(text: str, factor: int) -> str:
    """Return the request for `factor` units at once. Only where `can_multiply_gres`."""
    return ",".join(_multiplied(entry, factor) for entry in _entries(text))


def can_multiply_gres(text: str) -> bool:
    """Whether what `--gres=TEXT` asks for is known well enough to ask for it several times."""
    return all(_GPU_ENTRY.fullmatch(entry) or multiplied_list(entry, 1) for entry in _entries(text))


def count_gpus(text: str) -> int | None:
    """Return how many GPUs `--gpus=TEXT` asks for ("2", "v100:1,a100:1"); None where that cannot be told."""
    found = [_GPUS.fullmatch(entry) for entry in text.split(",")]
    return sum(int(one[2]) for one in found if one) if all(found) else None


def multiply_gpus(text: str, factor: int) -> str:
    """Return the request for `factor` units at once. Only where `count_gpus` knows."""
    found = [_GPUS.fullmatch(entry) for entry in text.split(",")]
    return ",".join(f"{f'{one[1]}:' if one[1] else ''}{int(one[2]) * factor}" for one in found if one)


def _multiplied(entry: str, factor: int) -> str:
    if factor == 1:
        return entry
    found = _GPU_ENTRY.fullmatch(entry)
    return f"{found[1]}:{int(found[2] or 1) * factor}{found[3]}" if found else multiplied_list(entry, factor) or entry


def _entries(text: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    return re.split(r",(?![^()]*\))", text)
