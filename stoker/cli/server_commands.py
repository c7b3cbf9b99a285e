"""Commands that need the programs themselves: they come with `stoker-server`, and without it say what to install."""

import importlib
import sys

import typer

_HOME = "services.embedded.commands"
_COMMANDS = ("agent", "sudoers", "up", "down", "migrate", "demo")
_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


def add_server_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    try:
        commands = importlib.import_module(_HOME)
    except ModuleNotFoundError as error:
        if error.name is None or not _HOME.startswith(error.name):
            raise
        for name in _COMMANDS:
            app.command(name, hidden=True, context_settings=_ANYTHING)(_missing)
    else:
        for part in commands.APPS:
            app.add_typer(part)


def _missing(context: typer.Context) -> None:
    """Not here."""
    sys.exit(f"stoker {context.info_name} runs the services themselves: pip install 'stoker-server[embedded]'")
