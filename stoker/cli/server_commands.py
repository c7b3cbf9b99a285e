"""Commands that need the programs themselves: they come with `stoker-server`, and without it say what to install."""

import importlib

import typer

from stoker.errors import Invalid

_HOME = "services.embedded.commands"
_OURS = ("services", "shared", "stoker")
_COMMANDS = ("agent", "sudoers", "up", "down", "migrate", "demo")
_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def add_server_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    try:
        commands = importlib.import_module(_HOME)
    except ModuleNotFoundError as error:
        if not _is_left_out(error.name or ""):
            raise
        for name in _COMMANDS:
            app.command(name, hidden=True, context_settings=_ANYTHING)(_missing)
    else:
        for part in commands.APPS:
            app.add_typer(part)


def _is_left_out(module: str) -> bool:
    """Whether it is absent because less was installed: the second wheel as a whole, or what it needs on a machine."""
    return _HOME.startswith(module) if module.partition(".")[0] in _OURS else bool(module)


def _missing(context: typer.Context) -> None:
    """Not here."""
    raise Invalid(f"stoker {context.info_name} runs the services themselves: pip install 'stoker-server[embedded]'")
