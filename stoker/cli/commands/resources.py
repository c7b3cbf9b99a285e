"""`stoker resource …`."""

from collections.abc import Sequence

import typer

from stoker.cli import options
from stoker.cli.documents import edited, read_object
from stoker.cli.names import find_resource
from stoker.cli.output import cells, print_json, print_warnings, stderr, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.resources import Resource

app = typer.Typer(no_args_is_help=True, help="The places that compute.")


@app.command("add")
def add(context: typer.Context, file: options.ConfigurationFile, *, as_json: options.Json = False) -> None:
    """Add a resource from its configuration."""
    spec = read_object(file)

    async def work(session: Session) -> Resource:
        return await session.registry.create_resource(spec)

    _show_added(run(context, work), as_json=as_json)


@app.command("list")
def list_all(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the resources."""

    async def work(session: Session) -> Sequence[Resource]:
        return [resource async for resource in session.registry.resources()]

    found = run(context, work)
    if as_json:
        print_json(found)
        return
    shown = table("NAME", "TYPE", "ID", "CHANGED")
    for resource in found:
        shown.add_row(*cells(resource.name, resource.type, resource.id, resource.updated_at))
    stdout().print(shown)


@app.command("show")
def show(context: typer.Context, resource: options.ResourceName) -> None:
    """Show a resource with its configuration, as JSON."""

    async def work(session: Session) -> Resource:
        return await find_resource(session, resource)

    print_json(run(context, work))


@app.command("edit")
def edit(context: typer.Context, resource: options.ResourceName, *, as_json: options.Json = False) -> None:
    """Edit a resource's configuration in $EDITOR. Somebody else's change meanwhile is not overwritten."""

    async def work(session: Session) -> Resource:
        before = await find_resource(session, resource)
        spec = edited(before.spec)
        if spec is None:
            return before
        return await session.registry.replace_resource(before.id, spec, version=before.version)

    after = run(context, work)
    if as_json:
        print_json(after)
    else:
        stderr().print(f"{after.name}: version {after.version}", markup=False)
        print_warnings(after.warnings or [])


@app.command("remove")
def remove(context: typer.Context, resource: options.ResourceName) -> None:
    """Remove a resource that nothing uses."""

    async def work(session: Session) -> None:
        await session.registry.delete_resource((await find_resource(session, resource)).id)

    run(context, work)


def _show_added(resource: Resource, *, as_json: bool) -> None:
    if as_json:
        print_json(resource)
    else:
        stdout().print(f"{resource.id}  {resource.name}", markup=False)
        print_warnings(resource.warnings or [])
