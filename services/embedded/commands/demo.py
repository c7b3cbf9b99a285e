"""`stoker demo`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.embedded.demo.show import demonstrate
from stoker.cli.failures import ExitCode
from stoker.cli.output import stderr, stdout

app = typer.Typer()


@app.command("demo")
def demo(
    *,
    picture: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the picture of the task's result goes (PNG).")
    ] = Path("stoker-demo.png"),
) -> None:
    """Show Stoker at work: start it in a temporary folder, run real jobs and a task of a real package, stop it."""
    try:
        succeeded = asyncio.run(demonstrate(stdout(), stderr(), picture.absolute()))
    except asyncio.CancelledError:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    raise typer.Exit(ExitCode.OK if succeeded else ExitCode.JOB_FAILED)
