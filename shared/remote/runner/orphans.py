"""Processes whose parents have died: the runner has adopted them, and has to know whose they were."""

from __future__ import annotations

import os

from shared.remote.common.layout import UNIT_VARIABLE
from shared.remote.common.processes import children, descendants, environment_value
from shared.remote.runner.units.slots import Running


class Orphans:
    """Adopted processes (children of the runner that are not units), each with the units that it may belong to.

    A daemon of a unit that still runs is left alone until that unit ends. It is attributed by its session, by the
    unit's number in its environment, or, when it has shaken off both, to all units that ran when it was first seen:
    the last one of them to end takes it.
    """

    def __init__(self) -> None:
        own = os.getpid()
        self._own = own
        self._owners: dict[int, frozenset[Running]] = {}
        try:
            # Kept open: one read tells the children, without looking at every process of the machine.
            self._children = os.open(f"/proc/{own}/task/{own}/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._children = -1  # a kernel without it

    def forget(self, pid: int) -> None:
        """It has ended."""
        self._owners.pop(pid, None)

    def look(self, commands: dict[int, Running], lingering: list[Running]) -> None:
        """Take note of processes adopted since the last look.

        `commands` are the units whose command runs, by its pid; `lingering` those whose command has ended.
        """
        for pid in self._child_pids():
            if pid not in commands and pid not in self._owners:
                self._owners[pid] = _owners(pid, [*commands.values(), *lingering])

    def of(self, unit: Running) -> set[int]:
        """Return what must go with this unit, now that its command has ended: nobody else may own it any more."""
        return {
            pid
            for pid, owners in self._owners.items()
            if unit in owners and all(owner is unit or owner.ended_at is not None for owner in owners)
        }

    def tree(self, unit: Running) -> set[int]:
        """Return all living processes of a unit: what its command started, and its orphans with all below them."""
        roots = self.of(unit)
        if unit.ended_at is None:
            roots.add(unit.pid)
        return roots | descendants(roots)

    def _child_pids(self) -> list[int]:
        if self._children < 0:
            return children(self._own)
        data, at = b"", 0
        while True:
            piece = os.pread(self._children, 65536, at)
            if not piece:
                return [int(pid) for pid in data.split()]
            data += piece
            at += len(piece)


def _owners(pid: int, units: list[Running]) -> frozenset[Running]:
    try:
        session = os.getsid(pid)
    except OSError:
        session = 0
    number = environment_value(pid, UNIT_VARIABLE)
    owners = [unit for unit in units if unit.pid == session or str(unit.attempt.unit) == number]
    return frozenset(owners or units)
