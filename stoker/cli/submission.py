"""From the options of `submit` and `plan` to a request."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar, get_args

import msgspec
import typer

from stoker.cli.documents import read_bytes
from stoker.cli.names import find_profile
from stoker.cli.session import Session
from stoker.cli.units import UnitsFormat, read_units
from stoker.contracts.jobs import JobSubmit
from stoker.contracts.needs import Needs, PartNeeds, Retries, RetryReason
from stoker.errors import Invalid

T = TypeVar("T")
_NUMBERS = frozenset({"cpus_per_task", "nodes", "tasks_per_job", "parallel_tasks_per_job"})

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
_SCHEDULING = "Scheduling and retries"
TasksPerJob = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Units per SLURM job, with --parallel; without both the resource's rule decides.",
        rich_help_panel=_SCHEDULING,
    ),
]
NeedsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--need",
        metavar="NAME=VALUE",
        help="What a unit needs on a cluster: " + ", ".join(Needs.__struct_fields__) + ". Repeatable.",
        rich_help_panel=_SCHEDULING,
    ),
]
Account = Annotated[str | None, typer.Option(help="The SLURM account that pays.", rich_help_panel=_SCHEDULING)]
WorkerInit = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Shell lines that run before the work.", rich_help_panel=_SCHEDULING),
]
ExtraLines = Annotated[
    list[str] | None,
    typer.Option("--extra-line", help="A further line of the batch script. Repeatable.", rich_help_panel=_SCHEDULING),
]
UnitTime = Annotated[
    str | None, typer.Option(help="The time limit of one unit, as SLURM writes it.", rich_help_panel=_SCHEDULING)
]
RetryCount = Annotated[
    int, typer.Option("--retries", min=0, help="How often a unit is tried again.", rich_help_panel=_SCHEDULING)
]
RetryOn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="REASON",
        help="After which reasons: " + ", ".join(get_args(RetryReason)) + ". Repeatable.",
        rich_help_panel=_SCHEDULING,
    ),
]
MemoryFactor = Annotated[
    float,
    typer.Option(
        "--retry-memory-factor",
        min=1,
        help="Times so much memory after running out of it.",
        rich_help_panel=_SCHEDULING,
    ),
]
TimeFactor = Annotated[
    float,
    typer.Option(
        "--retry-time-factor", min=1, help="Times so much time after a time limit.", rich_help_panel=_SCHEDULING
    ),
]
NeedsInit = Annotated[
    list[str] | None,
    typer.Option(
        "--need-init",
        metavar="NAME=VALUE",
        help="The same for the init of a compound task alone, and extra_lines, tasks_per_job,"
        " parallel_tasks_per_job. Repeatable.",
        rich_help_panel=_SCHEDULING,
    ),
]
NeedsCompute = Annotated[
    list[str] | None,
    typer.Option(
        "--need-compute",
        metavar="NAME=VALUE",
        help="The same for what a compound task's init asks for. Repeatable.",
        rich_help_panel=_SCHEDULING,
    ),
]
CacheDir = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The cache folder of the units on the resource.", rich_help_panel=_SCHEDULING),
]
Name = Annotated[str, typer.Option("--name", help="A name to recognise the job by.")]


class Scheduling(msgspec.Struct, frozen=True, kw_only=True):
    """How it is to be run, as the command line describes it."""

    needs: Sequence[str] = ()
    account: str | None = None
    worker_init: str | None = None
    extra_lines: Sequence[str] = ()
    unit_time: str | None = None
    retry_count: int = 0
    retry_on: Sequence[str] = ()
    memory_factor: float = 1.0
    time_factor: float = 1.0

    def fields(self) -> dict[str, Any]:
        """The fields of a submit call. Raises Invalid, naming the option."""
        retries: dict[str, Any] = {
            "count": self.retry_count,
            "memory_factor": self.memory_factor,
            "time_factor": self.time_factor,
        }
        if self.retry_on:
            retries["on"] = list(self.retry_on)
        return {
            "needs": _converted("--need", dict(map(_need, self.needs)), Needs),
            "account": self.account,
            "worker_init": read_bytes(self.worker_init).decode() if self.worker_init else "",
            "extra_lines": list(self.extra_lines),
            "unit_time": self.unit_time,
            "retries": _converted("--retry-on", retries, Retries),
        }


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the command line describes it."""

    profile: str
    command: Sequence[str]
    units: str | None = None
    units_format: UnitsFormat | None = None
    files: Sequence[str] = ()
    environment: Sequence[str] = ()
    parallel: int | None = None
    tasks_per_job: int | None = None
    scheduling: Scheduling = Scheduling()
    cache_dir: str | None = None
    name: str = ""

    async def resolved(self, session: Session) -> JobSubmit:
        """Read the files and look up the profile."""
        submit = self.call()
        submit.units = read_units(self.units, self.units_format) if self.units else [{}]
        submit.profile_id = (await find_profile(session, self.profile)).id
        return submit

    def call(self) -> JobSubmit:
        """The call without units and profile, with the files read."""
        return JobSubmit(
            profile_id="",
            command=list(self.command),
            name=self.name,
            files=dict(map(_file, self.files)),
            environment=dict(map(_variable, self.environment)),
            parallel_tasks_per_job=self.parallel,
            tasks_per_job=self.tasks_per_job,
            cache_dir=self.cache_dir,
            **self.scheduling.fields(),
        )


def _file(text: str) -> tuple[str, str]:
    local, _, name = text.rpartition("=") if "=" in text and not Path(text).exists() else (text, "", "")
    if not local:
        raise Invalid(f"--file {text}: write LOCAL or LOCAL=NAME")
    if local == "-":
        raise Invalid("--file cannot read standard input")
    return str(PurePosixPath(name)) if name else Path(local).name, base64.b64encode(read_bytes(local)).decode("ascii")


def _need(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Invalid(f"a need is written NAME=VALUE, not {text!r}")
    if name in _NUMBERS and value.isdecimal():
        return name, int(value)
    if name == "needs_gpu" and value in ("true", "false"):
        return name, value == "true"
    return name, value


def part_needs(option: str, texts: Sequence[str]) -> PartNeeds:
    """What one part of a task needs. Raises Invalid, naming the option."""
    lines, values = list[str](), dict[str, Any]()
    for name, value in map(_need, texts):
        if name == "extra_lines":
            lines.append(value)
        else:
            values[name] = value
    return _converted(option, {**values, "extra_lines": lines}, PartNeeds)


def _converted(option: str, values: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"{option}: {error}") from error


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        if text not in os.environ:
            raise Invalid(f"--env {text}: write NAME=VALUE (or NAME of a variable that is set here)")
        value = os.environ[text]
    return name, value
