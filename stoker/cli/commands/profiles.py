"""`stoker profile …`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from stoker.cli import options
from stoker.cli.documents import edited, read_object
from stoker.cli.names import find_profile, find_resource
from stoker.cli.output import cells, print_json, print_warnings, stderr, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.profiles import Profile

app = typer.Typer(no_args_is_help=True, help="The identities on a resource.")


@app.command("add")
def add(
    context: typer.Context,
    resource: options.ResourceName,
    file: options.ConfigurationFile,
    *,
    as_json: options.Json = False,
) -> None:
    """Add a profile to a resource."""
    spec = read_object(file)

    async def work(session: Session) -> Profile:
        return await session.registry.create_profile((await find_resource(session, resource)).id, spec)

    added = run(context, work)
    if as_json:
        print_json(added)
    else:
        stdout().print(f"{added.id}  {added.name}", markup=False)
        print_warnings(added.warnings or [])


@app.command("list")
def list_all(
    context: typer.Context,
    *,
    resource: Annotated[str | None, typer.Option("--resource", help="Only those of one resource.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the profiles."""

    async def work(session: Session) -> tuple[Sequence[Profile], dict[str, str]]:
        chosen = (await find_resource(session, resource)).id if resource else None
        names = {found.id: found.name async for found in session.registry.resources()}
        return [profile async for profile in session.registry.profiles(resource_id=chosen)], names

    found, names = run(context, work)
    if as_json:
        print_json(found)
        return
    shown = table("NAME", "RESOURCE", "TYPE", "ID", "CHANGED")
    for profile in found:
        where = names.get(profile.resource_id, profile.resource_id)
        shown.add_row(*cells(profile.name, where, profile.resource_type, profile.id, profile.updated_at))
    stdout().print(shown)


@app.command("show")
def show(context: typer.Context, profile: options.ProfileName) -> None:
    """Show a profile with its configuration, as JSON."""

    async def work(session: Session) -> Profile:
        return await find_profile(session, profile)

    print_json(run(context, work))


@app.command("edit")
def edit(context: typer.Context, profile: options.ProfileName, *, as_json: options.Json = False) -> None:
    """Edit a profile's configuration in $EDITOR. Somebody else's change meanwhile is not overwritten."""

    async def work(session: Session) -> Profile:
        before = await find_profile(session, profile)
        spec = edited(before.spec)
        if spec is None:
            return before
        return await session.registry.replace_profile(before.id, spec, version=before.version)

    after = run(context, work)
    if as_json:
        print_json(after)
    else:
        stderr().print(f"{after.name}: version {after.version}", markup=False)
        print_warnings(after.warnings or [])


@app.command("remove")
def remove(context: typer.Context, profile: options.ProfileName) -> None:
    """Remove a profile that nothing uses."""

    async def work(session: Session) -> None:
        await session.registry.delete_profile((await find_profile(session, profile)).id)

    run(context, work)
