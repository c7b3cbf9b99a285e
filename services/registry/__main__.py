"""`python -m services.registry serve | migrate | bootstrap`."""

import argparse
import asyncio
import sys

from services.registry.app import build_app
from services.registry.bootstrap import bootstrap
from services.registry.migrations import LOCATION
from services.registry.settings import RegistrySettings
from shared.service.database import migration_command
from shared.service.database.migrations import require_head
from shared.service.web.commands import errors_in_one_line, settings_or_exit
from shared.service.web.server import serve
from stoker.contracts.keys import Role

MEND = "python -m services.registry migrate"


def main() -> None:
    """Run the subcommand that was asked for."""
    arguments = _parser().parse_args()
    serving = arguments.command in {None, "serve"}
    settings = settings_or_exit(RegistrySettings, service="registry", logs_to=None if serving else sys.stderr)
    url = settings.database_url.reveal()
    with errors_in_one_line():
        if arguments.command == "migrate":
            migration_command.migrate(arguments, url, LOCATION)
            return
        require_head(url, LOCATION, mend=MEND)
        if arguments.command == "bootstrap":
            role: Role = "service" if arguments.service else "admin"
            new = asyncio.run(bootstrap(settings, role=role, name=arguments.name or role))
            sys.stdout.write(f"{new.key}\n")
            return
        serve(build_app(settings), settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.registry", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="answer requests until told to stop (the default)")
    migration_command.add_arguments(commands.add_parser("migrate", help=migration_command.HELP))
    first = commands.add_parser("bootstrap", help="print a first admin key; refused when there is one already")
    first.add_argument("--service", action="store_true", help="print a key for the services instead")
    first.add_argument("--name", help="name of the key (default: its role)")
    return parser


if __name__ == "__main__":
    main()
