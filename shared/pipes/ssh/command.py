"""The command line that starts an agent, in a form that every login shell reads the same."""

import re

from shared.pipes.errors import CannotConnect
from shared.remote.bundle import agent_source

ANNOUNCEMENT = b"STOKER-BOOTSTRAP "
OLDEST_PYTHON = (3, 9)

# Written for any Python since 2.7, so that an old one can say which it is. It asks for nothing before it has spoken:
# what login files read from their standard input is not ours. It begins with an empty line, in case that what they
# printed did not end with one.
_BOOTSTRAP = b"""
import os, sys
os.write(1, ("\\nSTOKER-BOOTSTRAP %d.%d\\n" % sys.version_info[:2]).encode())
def take(count):
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece: raise SystemExit(0)
        data += piece
    return data
exec(compile(take(int(take(12))), "<stoker-agent>/agent.py", "exec"), {"__name__": "__main__"})
"""

# bash, dash, ksh, zsh, tcsh and fish agree on these within single quotes: themselves.
_SAFE = re.compile(r"/[A-Za-z0-9/._+@%:,=-]*\Z")
_UNSAFE_QUOTED = re.compile(r"['\\!\x00-\x1f\x7f]")


def remote_command(python: str) -> str:
    """Return the line; CannotConnect for a path that cannot be written so that every shell understands it."""
    if not _SAFE.match(python):
        if _UNSAFE_QUOTED.search(python):
            message = f"the path {python!r} in jobs_slurm_python_worker means different things to different shells"
            raise CannotConnect(message, "make a symbolic link with a plain name")
        python = f"'{python}'"
    return f'{python} -I -S -c \'exec(__import__("binascii").unhexlify("{_BOOTSTRAP.hex()}"))\''


def source_message() -> bytes:
    """What the bootstrap waits for: the agent's source after its length."""
    source = agent_source()
    return b"%012d" % len(source) + source


def check_version(announced: bytes, python: str) -> None:
    """`announced` is what followed ANNOUNCEMENT, such as b"3.11". CannotConnect when it is too old."""
    try:
        major, minor = (int(part) for part in announced.strip().split(b"."))
    except ValueError:
        raise CannotConnect(f"{python} announced itself as {announced[:40]!r}") from None
    if (major, minor) < OLDEST_PYTHON:
        raise CannotConnect(
            f"{python} is Python {major}.{minor}, and 3.9 is the oldest that serves",
            "name a newer one in jobs_slurm_python_worker of the resource",
        )
