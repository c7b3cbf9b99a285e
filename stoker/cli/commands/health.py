"""How things are: is a profile usable, and what jobs take up on disk."""

from typing import Annotated

import typer
from rich.text import Text

from stoker.cli import options
from stoker.cli.failures import ExitCode
from stoker.cli.names import find_profile
from stoker.cli.output import cells, plain, print_json, size, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.checks import CheckReport
from stoker.contracts.usage import Usage
from stoker.errors import Invalid

app = typer.Typer()

_RESOURCE_AND_PROFILE = 2
_LEVEL_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@app.command("check")
def check(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="[RESOURCE] PROFILE", help="The profile's name or id, and its resource's.")
    ],
    *,
    test_job: Annotated[bool, typer.Option("--test-job", help="Also run a real unit.")] = False,
    as_json: options.Json = False,
) -> None:
    """Find out whether a profile and its resource are usable, and what mends them."""
    if len(names) > _RESOURCE_AND_PROFILE:
        raise Invalid("check takes a profile, or a resource and one of its profiles")

    async def work(session: Session) -> CheckReport:
        found = await find_profile(session, names[-1], resource=names[0] if len(names) > 1 else None)
        return await session.executor.check(found.id, test_job=test_job)

    report = run(context, work)
    if as_json:
        print_json(report)
    else:
        console = stdout()
        for finding in report.findings:
            level = Text(f"{finding.level:<8}", style=_LEVEL_STYLES[finding.level])
            console.print(level + Text(f"{finding.name}: {plain(finding.detail)}"))
            if finding.mend:
                console.print(f"        {plain(finding.mend)}", style="bold", markup=False, soft_wrap=True)
    raise typer.Exit(ExitCode.OK if report.usable else ExitCode.REFUSED)


@app.command("usage")
def usage(context: typer.Context, *, as_json: options.Json = False) -> None:
    """Show the disk use of jobs per resource."""

    async def work(session: Session) -> tuple[Usage, dict[str, str]]:
        names = {found.id: found.name async for found in session.registry.resources()}
        return await session.executor.usage(), names

    found, names = run(context, work)
    if as_json:
        print_json(found)
        return
    shown = table("RESOURCE", "JOBS>", "DISK>")
    for resource in found.resources:
        name = names.get(resource.resource_id, resource.resource_id)
        shown.add_row(*cells(name, resource.jobs, size(resource.disk_bytes)))
    stdout().print(shown)
