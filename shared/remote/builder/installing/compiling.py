"""Compiling what is installed to bytecode, for tasks that run as somebody who may not write there.

They would compile everything again each time. It takes longer than installing: it is done where it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.remote.builder.commands import Commands, say
from shared.remote.builder.steps import Steps

# What a package holds for other Pythons does not compile, and need not. Others have the processors first.
_PROGRAM = """
import compileall, os, sysconfig
os.nice(10)
compileall.compile_dir(sysconfig.get_path("purelib"), quiet=2, workers=min(8, len(os.sched_getaffinity(0))))
"""


def compile_all(commands: Commands, python: Sequence[str], steps: Steps) -> None:
    """Compile everything; what cannot be compiled only makes tasks start more slowly."""
    steps.next("compile to bytecode")
    if commands.read([*python, "-I", "-c", _PROGRAM], cwd="/", quiet=True).code:
        say("not all of it could be compiled: tasks start more slowly")
