"""Clocks that jump, and machines that sleep."""

import time

import pytest

from services.executor.housekeeping.clock import DoubtfulClock
from services.executor.kinds.slurm.absences import Absences

MONTH = 30 * 86_400.0


def test_a_clock_that_jumps_is_doubted_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, wall, steady = DoubtfulClock(), time.time(), time.monotonic()
    assert not clock.is_doubted
    monkeypatch.setattr(time, "time", lambda: wall + MONTH)
    assert clock.is_doubted
    monkeypatch.setattr(time, "monotonic", lambda: steady + 1800.0)
    monkeypatch.setattr(time, "time", lambda: wall + MONTH + 1800.0)
    assert clock.is_doubted
    monkeypatch.setattr(time, "monotonic", lambda: steady + 3700.0)
    monkeypatch.setattr(time, "time", lambda: wall + MONTH + 3700.0)
    assert not clock.is_doubted


def test_an_absence_is_as_long_as_it_was_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    absences, now, steady = Absences(), 1_000_000.0, time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: steady)
    assert absences.since("b", None, now) is None
    assert absences.since("b", now, now + 5.0) == now + 5.0
    monkeypatch.setattr(time, "monotonic", lambda: steady + 60.0)
    assert absences.since("b", now, now + 65.0) == now + 5.0
    # The machine slept for a month: nobody has looked meanwhile.
    monkeypatch.setattr(time, "monotonic", lambda: steady + 61.0)
    assert absences.since("b", now, now + MONTH) == now + MONTH - 61.0
    # It was seen again.
    assert absences.since("b", None, now + MONTH + 1.0) is None
    assert absences.since("b", now + MONTH + 2.0, now + MONTH + 3.0) == now + MONTH + 3.0
