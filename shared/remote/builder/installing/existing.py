"""An environment that somebody else made on the resource: looked at, never changed."""

from __future__ import annotations

import os

from shared.remote.builder import answers
from shared.remote.builder.answers import Answer
from shared.remote.builder.commands import Commands
from shared.remote.builder.failures import Failure
from shared.remote.builder.packages.contents import look, show_freeze
from shared.remote.builder.packages.names import normalised, package_name
from shared.remote.builder.request import Request
from shared.remote.builder.steps import Steps


def describe(request: Request, commands: Commands) -> Answer:
    """Return what is in it; `source.python` is its interpreter, or its folder."""
    path = request.source.absolute_path("python")
    package = normalised(package_name(request.package))
    steps = Steps(1)
    steps.next(f"look for the tasks of {package} in {path}")
    python = os.path.join(path, "bin", "python") if os.path.isdir(path) else path
    if not os.path.isfile(python) or not os.access(python, os.X_OK):
        raise Failure("environment_not_found", f"{python} is not an interpreter that can be started here")
    contents = look(commands, python, package)
    show_freeze(contents)
    answer = answers.described(contents, command=[python], installer=None)
    return {
        **answer,
        "folder": os.path.dirname(os.path.dirname(python)),
        "package": package,
        "version": contents.version,
        "disk_bytes": None,
        "files": None,
        "made_before": True,
    }
