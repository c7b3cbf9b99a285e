"""Named points where a process dies, switched on by `STOKER_FAILPOINTS` and used by tests only.

The variable is a comma list of names; `name@3` dies at the third passage. Dying is SIGKILL: nothing is cleaned up.
`name!stall` stops the process (SIGSTOP) instead, so that a test can let it wake up after another took over.
"""

import os
import signal


def _parse(text: str) -> dict[str, tuple[int, signal.Signals]]:
    points: dict[str, tuple[int, signal.Signals]] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = item.partition("!")
        name, _, passage = name.partition("@")
        points[name] = (int(passage or 1), signal.SIGSTOP if action == "stall" else signal.SIGKILL)
    return points


_points = _parse(os.environ.get("STOKER_FAILPOINTS", ""))


def failpoint(name: str) -> None:
    """Die here if this point is switched on."""
    if not _points or name not in _points:
        return
    left, action = _points[name]
    if left > 1:
        _points[name] = (left - 1, action)
        return
    del _points[name]
    os.kill(os.getpid(), action)
