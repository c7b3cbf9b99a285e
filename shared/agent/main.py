"""Start of the agent."""

from __future__ import annotations

import os
import sys

from shared.agent.environment import settle, take_over_standard_streams
from shared.agent.frames import ProtocolError
from shared.agent.serving import Server
from shared.agent.verbs import Agent


def main() -> int:
    """Serve the pipe on standard input and output; returns the exit code."""
    incoming, outgoing = take_over_standard_streams()
    server = Server(Agent(settle()), incoming, outgoing)
    try:
        server.run()
    except (ProtocolError, OSError) as error:
        print(f"the agent gives up: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # threads that could not be given up in time end with it


if __name__ == "__main__":
    sys.exit(main())
