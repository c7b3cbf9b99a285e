"""What the command lines of all services share: settings and logs at the start, and errors in one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

from shared.service.logs import configure_logging
from shared.service.settings import ServiceSettings, load_settings
from stoker.errors import Invalid, StokerError

S = TypeVar("S", bound=ServiceSettings)
WRONG_SETTINGS = 2


def settings_or_exit(kind: type[S], *, service: str, logs_to: TextIO | None = None) -> S:
    """Return the settings with logs set up (`logs_to`: standard output unless a command prints something else there).

    Exits with status 2 and every wrong variable on standard error.
    """
    try:
        settings = load_settings(kind)
    except Invalid as error:
        lines = [f"  {wrong.path} {wrong.message}" for wrong in error.errors]
        sys.stderr.write("\n".join(["wrong settings:", *lines]) + "\n")
        sys.exit(WRONG_SETTINGS)
    configure_logging(service=service, level=settings.log_level, log_format=settings.log_format, stream=logs_to)
    return settings


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn errors that say all there is to say into a line on standard error, and exit status 1."""
    try:
        yield
    except StokerError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(1)
