"""Named points where a process dies, for tests only: a durable step must be safe to die before, in and after.

`STOKER_FAILPOINTS` names a folder. A process that passes the point `name` while the folder holds a file of that name
removes the file, so that each is good for one death, and gets SIGKILL: nothing is cleaned up. With the content
`stall` it gets SIGSTOP instead, and the test may let it wake up after another took over.
"""

import os
import signal
from pathlib import Path

_folder = os.environ.get("STOKER_FAILPOINTS")


def failpoint(name: str) -> None:
    """Die here if a test wants it."""
    if _folder is None:
        return
    file = Path(_folder) / name
    try:
        action = file.read_text()
        file.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP if action.strip() == "stall" else signal.SIGKILL)
