"""The pool: p slots, and a free one takes the next unit at once. One thread, which sleeps until a signal comes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from shared.remote.common.layout import STOP
from shared.remote.common.processes import descendants, send
from shared.remote.runner.batch import Attempt, Batch, BatchInvalid
from shared.remote.runner.notes import note
from shared.remote.runner.orphans import Orphans
from shared.remote.runner.records import NotRecorded
from shared.remote.runner.reports import Reports
from shared.remote.runner.restarts import SUPERSEDED, Restart
from shared.remote.runner.units import reasons, verdict
from shared.remote.runner.units.slots import ASKED, FORCED, UNTOUCHED, Running, Slot
from shared.remote.runner.units.starting import NotStarted, Starter

STOP_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1))
SIGNALS = STOP_SIGNALS | {signal.SIGCHLD, signal.SIGHUP}
"""Blocked in the runner from its first moment on, and waited for. SIGHUP is ignored: nobody's terminal is ours."""

STOP_LOOK_SECONDS = 2.0
SETTLE_SECONDS = 0.5
"""What a command leaves behind may take so long to go by itself (helpers of multiprocessing do) and is not noted."""
FORCE_AGAIN_SECONDS = 0.05
GIVE_UP_SECONDS = 30.0
STOPPED = "the job was cancelled"
STANDSTILL_SECONDS = 1.0
"""Who wakes so much later than it wanted to was stopped (SLURM suspends jobs), and its units with it."""


class Pool:
    """Runs the attempts of a batch; `why_stopped` says why it ended before their end, if it did.

    `restart` is there where SLURM runs this. `superseded`: another start of the launch goes on instead.
    """

    def __init__(
        self,
        batch: Batch,
        descriptor: int,
        reports: Reports,
        starter: Starter,
        todo: Iterator[Attempt],
        restart: Restart | None = None,
    ) -> None:
        self._batch = batch
        self._folder = descriptor
        self._reports = reports
        self._starter = starter
        self._restart = restart
        self._orphans = Orphans()
        self._attempts = todo
        self._free: list[Slot] = []
        self._slots = 0
        self._commands: dict[int, Running] = {}
        self._lingering: list[Running] = []
        self._signalled = False
        self.why_stopped: str | None = None
        self.superseded = False

    def run(self) -> None:
        """Return when nothing runs any more. Never raises for what units do."""
        while True:
            self._fill()
            if not self._commands and not self._lingering:
                break
            number = self._wait()
            if number in STOP_SIGNALS:
                self._signalled = True
                self.stop(f"the runner was told to stop by signal {number} ({signal.Signals(number).name})")
            elif number is None:
                self._look_for_a_stop()
            if number == signal.SIGCHLD:
                self._reap()
            self._act()
            self._finish_what_is_over()
        send(descendants({os.getpid()}), signal.SIGKILL)

    def stop(self, why: str) -> None:
        """Start nothing more, and end what runs."""
        if self.why_stopped is not None:
            return
        self.why_stopped = why
        for running in (*self._commands.values(), *self._lingering):
            if running.stage == UNTOUCHED:
                running.act_at = 0.0

    def _look_for_a_stop(self) -> None:
        if self._stop_asked():
            self.stop(STOPPED)
        elif self._lost_to_a_later_start():
            self.stop(SUPERSEDED)

    def _lost_to_a_later_start(self) -> bool:
        self.superseded = self.superseded or (self._restart is not None and self._restart.superseded())
        return self.superseded

    def _stop_asked(self) -> bool:
        try:
            os.stat(STOP, dir_fd=self._folder)
        except OSError:
            return False
        return True

    def _wait(self) -> int | None:
        """Sleep until a signal, or until something has to be done (None)."""
        seconds = STOP_LOOK_SECONDS
        moments = [one.act_at for one in (*self._commands.values(), *self._lingering) if one.act_at is not None]
        if moments:
            seconds = max(0.0, min(seconds, min(moments) - time.monotonic()))
        began = time.monotonic()
        found = signal.sigtimedwait(SIGNALS, seconds)
        stood = time.monotonic() - began - seconds
        if stood > STANDSTILL_SECONDS:
            self._put_off(stood)
        return found.si_signo if found else None

    def _put_off(self, seconds: float) -> None:
        """Nobody's time went on while all stood still."""
        for running in (*self._commands.values(), *self._lingering):
            if running.act_at is not None:
                running.act_at += seconds

    def _fill(self) -> None:
        """Give units to free slots."""
        while self.why_stopped is None and (self._free or self._slots < self._batch.parallel):
            self._look_for_a_stop()
            if self.why_stopped is not None:
                return
            try:
                attempt = next(self._attempts, None)
                if attempt is None:
                    return
                if not self._free:
                    self._free.append(Slot(self._batch.folder, self._slots))
                    self._slots += 1
                self._start(attempt, self._free.pop())
            except (BatchInvalid, NotRecorded) as error:
                self.stop(str(error))
            except OSError as error:
                self.stop(f"{error.strerror}: {error.filename or self._batch.folder}")

    def _start(self, attempt: Attempt, slot: Slot) -> None:
        running = Running(slot, attempt, time.time(), slot.log_length())
        self._reports.started(running)
        if self._stop_asked():
            # Whoever wrote that since our last look may already have taken this unit for one that has not begun.
            self.stop(STOPPED)
            self._free.append(slot)
            self._reports.result(running, "interrupted", reason=reasons.interrupted(STOPPED))
            return
        try:
            self._starter.start(running)
        except NotStarted as error:
            self._starter.clear(slot)
            self._free.append(slot)
            self._reports.result(running, "failed", reason=error.reason)
        else:
            self._commands[running.pid] = running

    def _reap(self) -> None:
        """Take note of everything that has ended, then of what it left behind."""
        ended = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            running = self._commands.pop(pid, None)
            if running is None:
                self._orphans.forget(pid)
            else:
                ended = True
                running.end(status, usage)
                running.act_at = time.monotonic() + SETTLE_SECONDS if running.stage == UNTOUCHED else running.act_at
                self._lingering.append(running)
        if ended or self._lingering:
            self._orphans.look(self._commands, self._lingering)

    def _finish_what_is_over(self) -> None:
        for running in tuple(self._lingering):
            if not self._orphans.of(running) and not self._may_have_been_told_before_us(running):
                self._finish(running)

    def _may_have_been_told_before_us(self, running: Running) -> bool:
        """SLURM signals units and runner at the same moment: a unit may be dead before the runner knows why."""
        return (
            self._restart is not None
            and self.why_stopped is None
            and running.stage == UNTOUCHED
            and verdict.ended_by_term(running.status)
        )

    def _finish(self, running: Running) -> None:
        self._lingering.remove(running)
        if self._signalled and running.cut is None and verdict.ended_by_term(running.status):
            running.cut = reasons.interrupted(self.why_stopped or "")
        if self._lost_to_a_later_start():
            return  # the unit is the later start's now, and so are the files
        limit = self._batch.output_limit_bytes if self._starter.has_output else None
        try:
            verdict.record(running, self._reports, output_limit_bytes=limit)
        except NotRecorded as error:
            self._say_at_least(running, str(error))
        self._starter.clear(running.slot)
        self._free.append(running.slot)

    def _say_at_least(self, running: Running, why: str) -> None:
        """The result could not be written. Never claim it: stop, and use the reserved space to say so."""
        self.stop(why)
        self._reports.use_reserve()
        note(f"the result of unit {running.attempt.unit} could not be recorded: {why}")
        reason = reasons.interrupted(f"its result could not be recorded: {why}")
        with contextlib.suppress(NotRecorded):
            self._reports.result(running, "interrupted", reason=reason)

    def _act(self) -> None:
        """Do what is due: time limits, asking processes to end, forcing them."""
        now = time.monotonic()
        for running in (*self._commands.values(), *self._lingering):
            if running.act_at is not None and running.act_at <= now:
                self._end_further(running, now)

    def _end_further(self, running: Running, now: float) -> None:
        if running.stage == UNTOUCHED:
            self._ask_to_end(running, now)
            return
        running.stage = FORCED
        running.forced_at = running.forced_at or now
        self._signal(running, signal.SIGKILL)
        running.act_at = now + FORCE_AGAIN_SECONDS
        if now - running.forced_at > GIVE_UP_SECONDS and running.ended_at is not None:
            running.strays = self._orphans.of(running)
            self._finish(running)

    def _ask_to_end(self, running: Running, now: float) -> None:
        if running.ended_at is None:
            if _has_ended(running.pid):
                running.act_at = None  # by itself, a moment before: its own outcome counts
                return
            why, limit = self.why_stopped, self._batch.unit_time_seconds or 0.0
            running.cut = reasons.time_limit(limit) if why is None else reasons.interrupted(why)
        self._signal(running, signal.SIGTERM)
        running.stage = ASKED
        running.act_at = now + self._batch.kill_grace_seconds

    def _signal(self, running: Running, number: int) -> None:
        self._orphans.look(self._commands, self._lingering)
        running.strays_signalled = running.strays_signalled or running.ended_at is not None
        send(self._orphans.tree(running), number)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
