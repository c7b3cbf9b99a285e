"""The subcommand `migrate` of the services that have a database."""

import argparse
from pathlib import Path

from shared.service.database.migrations import downgrade, upgrade
from shared.service.logs import get_logger

HELP = "bring the database's schema up to date, or back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Have the subcommand's parser take what `migrate` reads."""
    parser.add_argument("--revision", default="head")
    parser.add_argument("--back-to", metavar="REVISION", help="undo what is newer; what only that can hold is lost")


def migrate(arguments: argparse.Namespace, url: str, location: Path) -> None:
    """Do what it was called for. Raises as `shared.service.database.migrations` does."""
    if arguments.back_to:
        downgrade(url, location, arguments.back_to)
    else:
        upgrade(url, location, arguments.revision)
    get_logger().info("the schema is as wanted", revision=arguments.back_to or arguments.revision)
