"""Compiling what is installed to bytecode, after an environment counts as there: it takes longer than installing.

It is for environments whose tasks run as somebody who may not write there, and would compile again each time.
"""

from __future__ import annotations

import os

from shared.builder import answers, trees
from shared.builder.answers import Answer
from shared.builder.commands import Commands
from shared.builder.failures import Failure
from shared.builder.places import Place
from shared.builder.request import Request
from shared.builder.steps import Steps

_NICE = 10
# What a package holds for other Pythons does not compile, and need not.
_PROGRAM = "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)"


def compile_all(request: Request, commands: Commands) -> Answer:
    """Compile everything, and let others have the processors first; killed at any point it can be repeated."""
    place = Place(request.root, *request.known_package(), request.environment_id)
    record = place.ready()
    command = record.get("command") if record else None
    if not isinstance(command, list):
        raise Failure("environment_not_found", f"there is no complete environment at {place.folder}")
    os.nice(_NICE)
    Steps(1).next("compile to bytecode")
    done = commands.run([*command, "-I", "-c", _PROGRAM], cwd="/")
    if done.code:
        raise Failure("compilation_failed", f"not all of it could be compiled: {done.words}")
    trees.open_to_readers(place.folder)
    return answers.placed(place)
