"""`stoker demo`."""

import asyncio

import typer

from stoker.demo.show import demonstrate
from stoker.failures import ExitCode
from stoker.output import stderr, stdout

app = typer.Typer()


@app.command("demo")
def demo() -> None:
    """Show Stoker at work: start it in a temporary folder, run a real job, stop it again."""
    try:
        job = asyncio.run(demonstrate(stdout(), stderr()))
    except asyncio.CancelledError:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    raise typer.Exit(ExitCode.OK if job.state == "succeeded" else ExitCode.JOB_FAILED)
