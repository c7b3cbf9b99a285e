"""`stoker agent`."""

import sys

import typer

from shared.bundle import agent_source

app = typer.Typer()


@app.command("agent")
def agent() -> None:
    """Print the agent, the one file that is installed where sudo or a forced SSH command starts it."""
    sys.stdout.buffer.write(agent_source())
