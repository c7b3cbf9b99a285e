"""Two favours of the Linux kernel that Python has no names for (prctl).

Where ctypes is missing they are not granted.
"""

from __future__ import annotations

try:
    import ctypes
except ImportError:  # a Python built without libffi: units still run, strays are found later by their mark
    ctypes = None  # type: ignore[assignment]

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> bool:
    if ctypes is None:
        return False
    function = ctypes.CDLL(None, use_errno=True).prctl
    return bool(function(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def adopt_orphans() -> bool:
    """Make orphaned descendants children of this process (instead of init)."""
    return _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int) -> bool:
    """Have this signal sent to this process when its parent dies."""
    return _prctl(_SET_PARENT_DEATH_SIGNAL, number)
