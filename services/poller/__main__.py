"""`python -m services.poller [serve]`."""

import argparse
import sys

from services.poller.app import create_app
from services.poller.settings import PollerSettings
from shared.service.logs import configure_logging
from shared.service.settings import load_settings
from shared.service.web.server import serve
from stoker.errors import Invalid


def main() -> None:
    """Serve until told to stop. Exits with 2 when a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m services.poller", description="The poller of Stoker.")
    parser.add_argument("command", nargs="?", default="serve", choices=["serve"], help="what to do (default: serve)")
    parser.parse_args()
    try:
        settings = load_settings(PollerSettings)
    except Invalid as error:
        sys.exit(error.message)
    configure_logging(service="poller", level=settings.log_level, log_format=settings.log_format)
    serve(create_app(settings), settings)


if __name__ == "__main__":
    main()
