"""A job's life on the terminal, from the stream of events."""

import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from stoker.cli.output import plain, state_text
from stoker.clients import ExecutorClient
from stoker.contracts.events import MAX_FAILED_UNITS_PER_EVENT, FailedUnit, JobEvent
from stoker.contracts.jobs import FINAL_JOB_STATES, Counts, Job
from stoker.errors import Unavailable

# Restarts and upgrades take seconds; a silence this long wants a person.
_PATIENCE_SECONDS = 300.0


class JobProgress:
    """A progress bar with counts; above it one line per unit that did not succeed. All on standard error."""

    def __init__(self, job: Job, console: Console) -> None:
        self._console = console
        self._job = job
        self._said_state = ""
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID = self._bar.add_task(job.name or job.id, total=job.unit_count, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: JobEvent) -> None:
        """Bring the bar up to date and say which units failed."""
        for unit in event.failed_units:
            self._bar.console.print(failure_line(unit))
        if event.failed_units_left_out:
            self._bar.console.print(f"… and {event.failed_units_left_out} more")
        self._bar.update(self._task, completed=ended(event.counts), note=_note(event.state, event.counts))
        if event.state != self._said_state and not sys.stderr.isatty():
            self._console.print(Text(f"{self._job.id} ") + state_text(event.state))
        self._said_state = event.state

    def show_outage(self, error: Unavailable) -> None:
        """Say that the stream is interrupted; it comes back by itself."""
        self._bar.update(self._task, note=f"reconnecting ({plain(error.message)[:60]})")


async def watch_to_end(executor: ExecutorClient, job: Job, console: Console) -> Job:
    """Show a job until it is final, and return it as it is then. Units that failed before are shown as well.

    Raises Unavailable when the executor has not been heard for some minutes.
    """
    if job.state in FINAL_JOB_STATES:
        await _show_bad_units(executor, job, console)
        return job
    with JobProgress(job, console) as progress:
        patience = Patience(_PATIENCE_SECONDS, progress.show_outage)
        async with aclosing(executor.events(job.id, on_outage=patience)) as events:
            async for event in events:
                patience.reset()
                progress.show(event)
                if event.state in FINAL_JOB_STATES:
                    break
    return await executor.job(job.id)


async def _show_bad_units(executor: ExecutorClient, job: Job, console: Console) -> None:
    for state in ("failed", "lost"):
        if not getattr(job.counts, state):
            continue
        shown = 0
        async for unit in executor.units(job.id, state=state, page_size=MAX_FAILED_UNITS_PER_EVENT):
            console.print(failure_line(FailedUnit(index=unit.index, state=unit.state, reason=unit.reason)))
            shown += 1
            if shown == MAX_FAILED_UNITS_PER_EVENT:
                break


def failure_line(unit: FailedUnit) -> Text:
    """One line: which unit, how it ended, why in words, and the last words of its log where they are known."""
    last = unit.reason.log_tail.strip().rpartition("\n")[2] if unit.reason else ""
    told = f"{unit.reason.text} ({last})" if unit.reason and last else unit.reason.text if unit.reason else ""
    why = plain(told).replace("\n", " ")
    return Text(f"unit {unit.index} ") + state_text(unit.state) + Text(f": {why}" if why else "")


def ended(counts: Counts) -> int:
    """How many units have reached an outcome."""
    return counts.succeeded + counts.failed + counts.cancelled + counts.lost


def _note(state: str, counts: Counts) -> str:
    bad = [f"{count} {word}" for word in ("failed", "lost", "cancelled") if (count := getattr(counts, word))]
    running = [f"{counts.running} running"] if counts.running else []
    return ", ".join([state, *running, *bad])


class Patience:
    """Ends a wait that meets nothing but outages for too long."""

    def __init__(self, seconds: float, then: Callable[[Unavailable], None] | None = None) -> None:
        self._seconds = seconds
        self._then = then
        self._since: float | None = None

    def __call__(self, error: Unavailable) -> None:
        """Take note of an outage; raises it when there have been nothing but outages for too long."""
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > self._seconds:
            raise error
        if self._then is not None:
            self._then(error)

    def reset(self) -> None:
        """Something was heard."""
        self._since = None
