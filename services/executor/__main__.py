"""`python -m services.executor serve | migrate`."""

import argparse
import sys

from services.executor.app import build
from services.executor.repositories.migrations import LOCATION
from services.executor.settings import ExecutorSettings, MigrationSettings
from shared.service.database import migration_command
from shared.service.database.migrations import require_head
from shared.service.web.commands import errors_in_one_line, settings_or_exit
from shared.service.web.server import serve

MEND = "python -m services.executor migrate"


def main() -> None:
    """Run the subcommand that was asked for."""
    arguments = _parser().parse_args()
    if arguments.command == "migrate":
        needed = settings_or_exit(MigrationSettings, service="executor", logs_to=sys.stderr)
        with errors_in_one_line():
            migration_command.migrate(arguments, needed.database_url.reveal(), LOCATION)
        return
    settings = settings_or_exit(ExecutorSettings, service="executor")
    with errors_in_one_line():
        require_head(settings.database_url.reveal(), LOCATION, mend=MEND)
        serve(build(settings), settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.executor", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="answer requests until told to stop (the default)")
    migration_command.add_arguments(commands.add_parser("migrate", help=migration_command.HELP))
    return parser


if __name__ == "__main__":
    main()
