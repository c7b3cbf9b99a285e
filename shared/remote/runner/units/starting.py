"""From an attempt to a running command."""

from __future__ import annotations

import json
import os
import time

from shared.remote.common.durable import write_all
from shared.remote.common.layout import UNIT_VARIABLE
from shared.remote.runner.batch import Attempt, Batch
from shared.remote.runner.records import NotRecorded
from shared.remote.runner.units import reasons
from shared.remote.runner.units.environment import base_environment
from shared.remote.runner.units.placeholders import ArgumentMissing, CommandTemplate
from shared.remote.runner.units.shares import Shares
from shared.remote.runner.units.slots import Running, Slot, remove
from shared.remote.runner.units.spawning import Spawner
from shared.remote.runner.units.steps import step_command


class NotStarted(Exception):  # noqa: N818 - says what it is
    """The command could not be started; `reason` goes into the result."""

    def __init__(self, reason: dict[str, str]) -> None:
        super().__init__(reason["text"])
        self.reason = reason


class Starter:
    """Fills in a unit's command, lays out its files, starts it.

    `has_output` says whether units may have out files. SharesMissing where the allocation is too small.
    """

    def __init__(self, batch: Batch, *, in_slurm: bool = False) -> None:
        environment = base_environment(batch, in_slurm=in_slurm)
        self._template = CommandTemplate(batch.command)
        self._spawner = Spawner(environment)
        self._shares = Shares(batch, {**os.environ, **environment}, in_slurm=in_slurm)
        self._step = step_command(batch, environment)
        self._unit_time_seconds = batch.unit_time_seconds
        self.has_output = self._template.wants_output_file

    def start(self, running: Running) -> None:
        """Start the command of `running` in its slot; NotStarted, or NotRecorded when the disk is full."""
        attempt, slot = running.attempt, running.slot
        try:
            command = self._template.fill(attempt.unit, attempt.arguments, slot.arguments_file, slot.output_file)
            self._lay_out(attempt, slot)
            variables = {
                UNIT_VARIABLE: str(attempt.unit),
                "STOKER_ATTEMPT": str(attempt.attempt),
                "STOKER_SLOT": str(slot.number),
                **self._shares.variables(slot.number),
            }
            running.pid = self._spawn([*self._step, *command], variables, slot)
        except ArgumentMissing as error:
            raise NotStarted(reasons.reason("start_failed", str(error))) from error
        except ValueError as error:  # a null byte, or half a surrogate pair
            text = f"the command cannot be expressed as program arguments: {error}"
            raise NotStarted(reasons.reason("start_failed", text)) from error
        if self._unit_time_seconds is not None:
            running.act_at = time.monotonic() + self._unit_time_seconds

    def clear(self, slot: Slot) -> None:
        """Delete the temporary files of the unit that ran there."""
        if self._template.wants_arguments_file:
            remove(slot.arguments_file)
        if self.has_output:
            remove(slot.output_file)

    def _spawn(self, command: list[str], variables: dict[str, str], slot: Slot) -> int:
        try:
            return self._spawner.start(command, variables, slot.log, self._shares.cpus(slot.number))
        except OSError as error:
            raise NotStarted(reasons.not_started(error.filename or command[0], error)) from error

    def _lay_out(self, attempt: Attempt, slot: Slot) -> None:
        self.clear(slot)
        if not self._template.wants_arguments_file:
            return
        data = json.dumps(attempt.arguments, ensure_ascii=False).encode()
        try:
            descriptor = os.open(slot.arguments_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise NotRecorded(f"{error.strerror}: {slot.arguments_file}") from error
