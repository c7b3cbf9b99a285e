"""Task environments: create, list, show, tasks, log, deactivate, reactivate, delete."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from stoker.cli import options
from stoker.cli.failures import ExitCode
from stoker.cli.names import find_profile
from stoker.cli.output import cells, plain, print_json, print_warnings, size, state_text, stderr, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.environments import (
    FINAL_ACTIVITY_STATES,
    Activity,
    Environment,
    EnvironmentCreate,
    EnvironmentFromExisting,
    EnvironmentFromPixi,
    EnvironmentFromPypi,
    EnvironmentFromWheel,
)
from stoker.contracts.tasks import Task
from stoker.errors import Invalid, NotFound, Unavailable

app = typer.Typer(no_args_is_help=True, help="Environments of task packages.")

EnvironmentId = Annotated[str, typer.Argument(metavar="ENV", help="The environment's id.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Show the log until it ends.")]

_LOOK_SECONDS = 0.5


@app.command("create")
def create(
    context: typer.Context,
    package: Annotated[
        str,
        typer.Argument(
            metavar="PACKAGE", help="NAME, NAME==VERSION, a wheel, or a pixi project NAME-VERSION.tar.gz (files)."
        ),
    ],
    *,
    profile: options.ProfileOption,
    python: Annotated[str | None, typer.Option(help="A Python version that the resource offers.")] = None,
    extra: Annotated[list[str] | None, typer.Option(help="An extra of the package; may be repeated.")] = None,
    pre_pin: Annotated[
        list[str] | None, typer.Option(metavar="NAME==VERSION", help="Holds while the package is installed.")
    ] = None,
    post_pin: Annotated[
        list[str] | None, typer.Option(metavar="NAME==VERSION", help="Is installed after the package.")
    ] = None,
    existing: Annotated[
        str | None, typer.Option(metavar="PATH", help="An environment on the resource that PACKAGE is in.")
    ] = None,
    ignore_lock: Annotated[bool, typer.Option(help="Solve a pixi project anew, whatever its lock says.")] = False,
    wait: Wait = False,
    as_json: options.Json = False,
) -> None:
    """Make an environment of a task package."""

    async def work(session: Session) -> Environment:
        profile_id = (await find_profile(session, profile)).id
        wanted: EnvironmentCreate
        if existing is not None:
            wanted = EnvironmentFromExisting(profile_id=profile_id, path=existing, package=package)
        elif package.endswith(".tar.gz"):
            name, content = _file(package)
            wanted = EnvironmentFromPixi(
                profile_id=profile_id, file_name=name, content=content, use_lock=not ignore_lock
            )
        else:
            pins = {"pre_pins": _pins(pre_pin), "post_pins": _pins(post_pin)}
            if package.endswith(".whl"):
                name, content = _file(package)
                wanted = EnvironmentFromWheel(
                    profile_id=profile_id,
                    file_name=name,
                    content=content,
                    python_version=python,
                    extras=extra or [],
                    **pins,
                )
            else:
                name, _, version = package.partition("==")
                wanted = EnvironmentFromPypi(
                    profile_id=profile_id,
                    package=name,
                    version=version or None,
                    python_version=python,
                    extras=extra or [],
                    **pins,
                )
        made = await session.executor.create_environment(wanted)
        return await _shown_to_its_end(session, made) if wait else made

    _tell(run(context, work), wait=wait, as_json=as_json)


@app.command("list")
def list_environments(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List environments, the newest first."""

    async def work(session: Session) -> list[Environment]:
        return [one async for one in session.executor.environments()]

    found = run(context, work)
    if as_json:
        print_json(found)
        return
    shown = table("ENV", "STATE", "PACKAGE", "VERSION", "TASKS>", "SIZE>", "OWNER", "ACTIVITY")
    for one in found:
        doing = "" if one.activity is None else f"{one.activity.kind} {one.activity.state}"
        shown.add_row(
            *cells(
                one.id,
                state_text(one.state),
                one.package,
                one.version,
                len(one.task_names),
                size(one.disk_bytes),
                one.owner,
                doing,
            )
        )
    stdout().print(shown)


@app.command("show")
def show(context: typer.Context, environment: EnvironmentId, *, as_json: options.Json = False) -> None:
    """Show an environment and what was done to it."""

    async def work(session: Session) -> tuple[Environment, list[Activity]]:
        found = await session.executor.environment(environment)
        return found, [one async for one in session.executor.activities(environment)]

    found, activities = run(context, work)
    if as_json:
        print_json({"environment": found, "activities": activities})
        return
    _describe(found)
    shown = table("ACTIVITY", "WHAT", "STATE", "BY", "BEGAN", "ENDED", "WHY")
    for one in activities:
        why = one.reason.text if one.reason else one.waiting_for
        shown.add_row(*cells(one.id, one.kind, state_text(one.state), one.owner, one.started_at, one.ended_at, why))
    stdout().print(shown)


@app.command("tasks")
def tasks(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="WORD", help="Words that must all occur.")] = None,
    *,
    environment: Annotated[str | None, typer.Option("--env", help="Of this environment only.")] = None,
    of_type: Annotated[str | None, typer.Option("--type", help="Of this type only.")] = None,
    as_json: options.Json = False,
) -> None:
    """List tasks, of all environments or of one."""

    async def work(session: Session) -> list[Task]:
        search = " ".join(words) if words else None
        found = session.executor.tasks(environment_id=environment, of_type=of_type, search=search)
        return [one async for one in found]

    found = run(context, work)
    if as_json:
        print_json(found)
        return
    shown = table("ENV", "PACKAGE", "VERSION", "TASK", "TYPE", "CATEGORY")
    for one in found:
        shown.add_row(*cells(one.environment_id, one.package, one.package_version, one.name, one.type, one.category))
    stdout().print(shown)
    _warn_of(found)


@app.command("log")
def log(
    context: typer.Context,
    environment: EnvironmentId,
    *,
    activity: Annotated[str | None, typer.Option(help="Of this activity; by default of the latest.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
) -> None:
    """Print the log of what was, or is being, done to an environment."""

    async def work(session: Session) -> None:
        activity_id = activity
        if activity_id is None:
            latest = (await session.executor.environment(environment)).activity
            if latest is None:
                raise NotFound(f"Nothing is known of what was done to environment {environment}")
            activity_id = latest.id
        await _print_log(session, activity_id, follow=follow)

    run(context, work)


@app.command("deactivate")
def deactivate(
    context: typer.Context, environment: EnvironmentId, *, wait: Wait = False, as_json: options.Json = False
) -> None:
    """Remove what is installed, and keep what it can be made of again."""

    async def work(session: Session) -> Environment:
        found = await session.executor.deactivate_environment(environment)
        return await _shown_to_its_end(session, found) if wait else found

    _tell(run(context, work), wait=wait, as_json=as_json)


@app.command("reactivate")
def reactivate(
    context: typer.Context, environment: EnvironmentId, *, wait: Wait = False, as_json: options.Json = False
) -> None:
    """Make it again, exactly as it was."""

    async def work(session: Session) -> Environment:
        found = await session.executor.reactivate_environment(environment)
        return await _shown_to_its_end(session, found) if wait else found

    _tell(run(context, work), wait=wait, as_json=as_json)


@app.command("delete")
def delete(
    context: typer.Context, environment: EnvironmentId, *, wait: Wait = False, as_json: options.Json = False
) -> None:
    """Remove all of an environment."""

    async def work(session: Session) -> Environment:
        found = await session.executor.delete_environment(environment)
        return await _shown_to_its_end(session, found) if wait else found

    _tell(run(context, work), wait=wait, as_json=as_json)


@app.command("cancel")
def cancel(context: typer.Context, environment: EnvironmentId, *, as_json: options.Json = False) -> None:
    """Cancel what is being done to an environment."""

    async def work(session: Session) -> Activity:
        latest = (await session.executor.environment(environment)).activity
        if latest is None:
            raise NotFound(f"Nothing is being done to environment {environment}")
        return await session.executor.cancel_activity(latest.id)

    found = run(context, work)
    if as_json:
        print_json(found)


async def _print_log(session: Session, activity_id: str, *, follow: bool) -> None:
    def outage(error: Unavailable) -> None:
        stderr().print(plain(f"{error.message}; goes on as soon as it answers"), markup=False)

    async with aclosing(session.executor.activity_log(activity_id, follow=follow, on_outage=outage)) as parts:
        async for part in parts:
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()


async def _shown_to_its_end(session: Session, environment: Environment) -> Environment:
    """Its state at the end of its activity, whose log is shown meanwhile; a deleted one as it was last."""
    if environment.activity is None:
        return environment
    async with aclosing(session.executor.activity_log(environment.activity.id, follow=True)) as parts:
        async for part in parts:
            sys.stderr.write(plain(part.decode(errors="replace")))
            sys.stderr.flush()
    activity = await session.executor.activity(environment.activity.id)
    while activity.state not in FINAL_ACTIVITY_STATES:
        await asyncio.sleep(_LOOK_SECONDS)
        activity = await session.executor.activity(activity.id)
    if activity.kind == "create":
        _warn_of([one async for one in session.executor.tasks(environment_id=environment.id)])
    try:
        return await session.executor.environment(environment.id)
    except NotFound:
        return msgspec.structs.replace(environment, activity=activity)


def _warn_of(tasks: Sequence[Task]) -> None:
    """Say what of the packages' manifests has no effect."""
    print_warnings(f"task {one.name!r}: {warning}" for one in tasks for warning in one.warnings or [])


def _tell(environment: Environment, *, wait: bool, as_json: bool) -> None:
    if as_json:
        print_json(environment)
    else:
        stdout().print(environment.id, markup=False)
        if not wait:
            stderr().print(f"[dim]follow it with: stoker env log --follow {environment.id}[/]")
    if wait and environment.activity is not None and environment.activity.state != "done":
        reason = environment.activity.reason
        words = f"{environment.activity.kind} {environment.activity.state}"
        stderr().print(plain(f"{words}: {reason.text}" if reason else words), markup=False, soft_wrap=True)
        raise typer.Exit(ExitCode.JOB_FAILED)


def _describe(one: Environment) -> None:
    shown = table("", "")
    shown.show_header = False
    facts = {
        "environment": one.id,
        "state": state_text(one.state),
        "package": f"{one.package} {one.version or ''}".strip(),
        "source": one.source,
        "python": one.python_version,
        "made with": one.installer,
        "folder": one.folder,
        "size": size(one.disk_bytes),
        "tasks": ", ".join(one.task_names),
        "why": one.reason.text if one.reason else None,
    }
    for name, value in facts.items():
        if value:
            shown.add_row(*cells(name, value))
    stdout().print(shown)


def _file(path: str) -> tuple[str, bytes]:
    try:
        return Path(path).name, Path(path).read_bytes()
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error


def _pins(texts: Sequence[str] | None) -> dict[str, str]:
    pins = {}
    for text in texts or ():
        name, separator, version = text.partition("==")
        if not separator or not name or not version:
            raise Invalid(f"{text!r} is no pin: it must be NAME==VERSION")
        pins[name] = version
    return pins
