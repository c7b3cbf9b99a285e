"""Start of the agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from shared.remote.agent.environment import settle, take_over_standard_streams
from shared.remote.agent.frames import ProtocolError
from shared.remote.agent.hanging import Hanging
from shared.remote.agent.serving import Server
from shared.remote.agent.verbs.table import Agent

ALLOW_ROOT = "--allow-root"
REFUSED_EXIT = 77


def main(file: str | None = None, arguments: Sequence[str] = ()) -> int:
    """Serve the pipe on standard input and output; returns the exit code.

    `file` is the agent's own file where one is installed: then it was started through sudo, or by a forced command.
    """
    installed = file is not None
    if installed and os.getuid() == 0 and list(arguments) != [ALLOW_ROOT]:
        print("the agent does not run as root", file=sys.stderr)
        return REFUSED_EXIT
    incoming, outgoing = take_over_standard_streams()
    hanging = Hanging()
    server = Server(Agent(settle(trusting=not installed), hanging), hanging, incoming, outgoing)
    try:
        server.run()
    except (ProtocolError, OSError) as error:
        print(f"the agent gives up: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # threads that could not be given up in time end with it


if __name__ == "__main__":
    sys.exit(main())
