"""From the options of `submit` and `plan` to a request."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec
import typer

from shared.contracts.jobs import JobSubmit
from shared.errors import Invalid
from stoker.documents import read_bytes
from stoker.names import find_profile
from stoker.session import Session
from stoker.units import UnitsFormat, read_units

Command = Annotated[
    list[str],
    typer.Argument(
        metavar="COMMAND...",
        help="The program and its arguments (put -- before it). In them {args.NAME} is a unit's argument, "
        "{args_json} a file with all of them, {out_json} where its JSON result goes, {unit} its number.",
    ),
]
UnitsFile = Annotated[
    str | None,
    typer.Option(
        "--units", "-u", metavar="FILE", help="Units as JSON, JSON lines or CSV; - reads them from standard input."
    ),
]
UnitsForm = Annotated[
    UnitsFormat | None, typer.Option("--units-format", help="How they are written, where the name does not tell.")
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file", "-f", metavar="LOCAL[=NAME]", help="A file to put into the job's working folder. Repeatable."
    ),
]
Environment = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable for the units. Repeatable."),
]
Parallel = Annotated[int | None, typer.Option("--parallel", "-n", min=1, help="How many units run at once.")]
Name = Annotated[str, typer.Option("--name", help="A name to recognise the job by.")]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the command line describes it."""

    profile: str
    command: Sequence[str]
    units: str | None = None
    units_format: UnitsFormat | None = None
    files: Sequence[str] = ()
    environment: Sequence[str] = ()
    parallel: int | None = None
    name: str = ""

    async def resolved(self, session: Session) -> JobSubmit:
        """Read the files and look up the profile."""
        submit = JobSubmit(
            profile_id="",
            command=list(self.command),
            units=read_units(self.units, self.units_format) if self.units else [{}],
            name=self.name,
            files=dict(map(_file, self.files)),
            environment=dict(map(_variable, self.environment)),
            parallel_tasks_per_job=self.parallel,
        )
        submit.profile_id = (await find_profile(session, self.profile)).id
        return submit


def _file(text: str) -> tuple[str, str]:
    local, _, name = text.rpartition("=") if "=" in text and not Path(text).exists() else (text, "", "")
    if not local:
        raise Invalid(f"--file {text}: write LOCAL or LOCAL=NAME")
    if local == "-":
        raise Invalid("--file cannot read standard input")
    return str(PurePosixPath(name)) if name else Path(local).name, base64.b64encode(read_bytes(local)).decode("ascii")


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        if text not in os.environ:
            raise Invalid(f"--env {text}: write NAME=VALUE (or NAME of a variable that is set here)")
        value = os.environ[text]
    return name, value
