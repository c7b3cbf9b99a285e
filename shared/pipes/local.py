"""The pipe of a local resource: an agent as a child process of the service, its source sent down the pipe."""

import os
import sys

from shared.pipes.child import ChildPipe, start_child
from shared.pipes.errors import PipeLost
from shared.pipes.pipe import with_last_words
from shared.remote.bundle import agent_source
from stoker.errors import Unavailable

ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "TZ")
"""All that an agent, and with it every unit, gets of the service's environment."""

BOOTSTRAP = """
import os
def take(count):
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece: raise SystemExit(0)
        data += piece
    return data
exec(compile(take(int(take(12))), "<stoker-agent>/agent.py", "exec"), {"__name__": "__main__"})
"""
"""Reads a length of twelve digits, then so many bytes of source, and runs them."""


async def open_local_pipe(python: str | None = None) -> ChildPipe:
    """Start an agent with `python` (default: the interpreter of this process)."""
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    interpreter = python or sys.executable
    try:
        opened = await start_child([interpreter, "-I", "-S", "-c", BOOTSTRAP], environment)
    except FileNotFoundError as error:
        raise Unavailable(f"the interpreter {interpreter} is not there") from error
    try:
        source = agent_source()
        await opened.write(b"%012d" % len(source) + source)
    except PipeLost as error:
        message = await with_last_words(f"{interpreter} ended before an agent spoke", opened)
        await opened.close()
        raise PipeLost(message) from error
    except BaseException:
        await opened.close()
        raise
    return opened
