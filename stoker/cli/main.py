"""The command line `stoker`: speaks HTTP to the services, through the client library that all may import."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated

import typer

from stoker.cli.commands import (
    environments,
    health,
    jobs,
    keys,
    outcomes,
    profiles,
    queues,
    resources,
    ssh,
    task_runs,
)
from stoker.cli.failures import ExitCode, exit_code, show_error
from stoker.cli.output import stderr
from stoker.cli.server_commands import add_server_commands
from stoker.cli.session import default_state_folder
from stoker.errors import StokerError

_EPILOG = (
    "Exit codes: 0 fine, 1 the job failed or was cancelled, 2 wrong usage, 3 refused or invalid, "
    "4 something does not answer, 130 interrupted."
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run work on this machine or on a cluster.",
    epilog=_EPILOG,
)
for part in (jobs, task_runs, outcomes, health, queues, ssh):
    app.add_typer(part.app)
add_server_commands(app)
app.add_typer(resources.app, name="resource")
app.add_typer(profiles.app, name="profile")
app.add_typer(keys.app, name="key")
app.add_typer(environments.app, name="env")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's form
    if wanted:
        typer.echo(f"stoker {importlib.metadata.version('stoker')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", envvar="STOKER_STATE_DIR", help="The state folder of the stack to use."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run work on this machine or on a cluster."""
    context.obj = state_dir or default_state_folder()


def main() -> None:
    """Run the command line; expected errors are one readable block, never a traceback."""
    try:
        app()
    except StokerError as error:
        show_error(error, stderr())
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        stderr().print("[dim]interrupted[/]")
        sys.exit(ExitCode.INTERRUPTED)
