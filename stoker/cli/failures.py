"""Exit codes, and errors as a person can read them."""

from enum import IntEnum

from rich.console import Console
from rich.text import Text

from stoker.cli.output import plain
from stoker.errors import Conflict, Invalid, StokerError, Unauthorized, Unavailable

HINT_UNAVAILABLE = "is Stoker running? start it with: stoker up"


class ExitCode(IntEnum):
    """What the command line's exit codes mean."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNAVAILABLE = 4
    INTERRUPTED = 130


def exit_code(error: StokerError) -> ExitCode:
    """UNAVAILABLE may go away by itself; everything else needs another request."""
    return ExitCode.UNAVAILABLE if isinstance(error, Unavailable) else ExitCode.REFUSED


def show_error(error: StokerError, console: Console) -> None:
    """One block: what is wrong, each wrong field with its valid form, and what to do about it."""
    console.print(Text("error: ", style="bold red") + Text(plain(error.message), style="default"))
    fields = error.errors if isinstance(error, Invalid | Conflict) else []
    width = max((len(field.path) for field in fields), default=0)
    for field in fields:
        console.print(Text(f"  {plain(field.path):<{width}}  ", style="bold") + Text(plain(field.message)))
    hint = _hint(error)
    if hint:
        console.print(Text(f"  {hint}", style="dim"))


def _hint(error: StokerError) -> str:
    match error:
        case Unauthorized():
            return "check STOKER_KEY, or make a new key with: stoker key create"
        case Unavailable() if "does not answer" in error.message:
            return HINT_UNAVAILABLE
        case _:
            return ""
