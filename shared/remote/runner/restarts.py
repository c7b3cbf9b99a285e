"""A launch that SLURM has put back into its queue and started again: what its earlier starts left, and who goes on.

Each start takes a claim of its own, `claim.r<restart>`. An earlier start may still live, on a node that SLURM only
thought dead: it looks for later claims before each unit, and stops.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial

from shared.remote.common import claims, untrusted
from shared.remote.common.layout import END, EVENTS, RESULTS
from shared.remote.runner.batch import LONGEST_UNIT_BYTES, Attempt

TOO_OFTEN = "requeued more often than allowed"
SUPERSEDED = "SLURM has started this launch again elsewhere"


class Restart:
    """Which start of a launch this is. `superseded` is cheap enough to be asked before each unit."""

    def __init__(self, folder: int, number: int) -> None:
        self._folder = folder
        self.number = number

    def superseded(self) -> bool:
        """Whether a later start has taken over."""
        try:
            return claims.latest_restart(self._folder) > self.number
        except OSError:
            return False


def forget_end(folder: int) -> None:
    """The end of an earlier start is none any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(END, dir_fd=folder)


class EarlierStarts:
    """What is written about units already: those with a final result, and how often each was started.

    `begun`: how many starts of the launch have begun any unit. SLURM starts again by itself, whatever it was told,
    what it could not bring to its node: such a start has done nothing, and counts for nothing.
    """

    def __init__(self, folder: str) -> None:
        self._final = {
            record["unit"]
            for record in _records(os.path.join(folder, RESULTS))
            if isinstance(record.get("unit"), int) and record.get("outcome") != "interrupted"
        }
        self._starts: Counter[object] = Counter()
        self.begun = 0
        nothing_yet = True
        for record in _records(os.path.join(folder, EVENTS)):
            if record.get("event") == "claimed":
                nothing_yet = True
            elif record.get("event") == "start" and isinstance(record.get("unit"), int):
                self._starts[record["unit"]] += 1
                self.begun += nothing_yet
                nothing_yet = False

    def remaining(self, attempts: Iterator[Attempt]) -> Iterator[Attempt]:
        """Yield what is still to do, as new attempts of units that had been started."""
        for one in attempts:
            if one.unit not in self._final:
                yield Attempt(one.unit, one.attempt + self._starts[one.unit], one.arguments)


def _records(path: str) -> Iterator[dict[str, object]]:
    """Yield the lines that can be read: the last one may have been cut off with its writer."""
    try:
        file = os.fdopen(untrusted.open_regular(path), "rb")
    except FileNotFoundError:
        return
    with file:
        for line in iter(partial(file.readline, LONGEST_UNIT_BYTES), b""):
            try:
                record = untrusted.decode(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record
