"""Making the demonstration's environment, with its log as a progress bar."""

import re
import sys
from contextlib import aclosing

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from services.embedded.demo.jobs import ended_with_us, wait_for
from stoker.cli.output import plain
from stoker.clients import ExecutorClient
from stoker.contracts.environments import FINAL_ACTIVITY_STATES, Environment, EnvironmentCreate

_STEP = re.compile(r"step (?P<number>\d+) of (?P<total>\d+): (?P<name>.*)")
_NOTE_WIDTH = 60


async def build(executor: ExecutorClient, wanted: EnvironmentCreate, progress: Console) -> Environment:
    """Have an environment made and show how far it is; returns it as it is at the end of that."""
    made = await executor.create_environment(wanted)
    if made.activity is None:
        return made
    activity_id = made.activity.id
    progress.print(f"environment {made.id}: {made.package} {made.version or ''}", markup=False)

    async def has_ended() -> bool:
        return (await executor.activity(activity_id)).state in FINAL_ACTIVITY_STATES

    async with ended_with_us(lambda: executor.cancel_activity(activity_id), has_ended):
        await _show_log(executor, activity_id, made.package, progress)
        await wait_for(has_ended)
    return await executor.environment(made.id)


async def _show_log(executor: ExecutorClient, activity_id: str, name: str, console: Console) -> None:
    terminal = sys.stderr.isatty()
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        disable=not terminal,
    )
    shown = bar.add_task(name, total=1, note="")
    total = 1
    rest = ""
    with bar:
        async with aclosing(executor.activity_log(activity_id, follow=True)) as parts:
            async for part in parts:
                *lines, rest = (rest + part.decode(errors="replace")).split("\n")
                for line in lines:
                    if (step := _STEP.fullmatch(line)) is None:
                        continue
                    total = int(step["total"])
                    note = plain(step["name"])[:_NOTE_WIDTH]
                    bar.update(shown, completed=int(step["number"]) - 1, total=total, note=note)
                    if not terminal:
                        console.print(Text(plain(line)))
        bar.update(shown, completed=total, note="")
