"""`stoker ssh-trust`."""

from typing import Annotated

import typer

from stoker.cli import options
from stoker.cli.failures import ExitCode
from stoker.cli.names import find_resource
from stoker.cli.output import cells, plain, print_json, stderr, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.ssh import SshHostKeys, SshTrust
from stoker.errors import Conflict

app = typer.Typer()


@app.command("ssh-trust")
def ssh_trust(
    context: typer.Context,
    resource: options.ResourceName,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. For those who have compared the keys.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget the keys that were known: the host has new ones.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show the host keys of an SSH resource and, when you say so, trust them from now on."""

    async def look(session: Session) -> SshHostKeys:
        return await session.executor.scan_host_keys((await find_resource(session, resource)).id)

    seen = run(context, look)
    wanted = [key.fingerprint for key in seen.keys if key.state != "trusted"]
    if not as_json:
        _show(seen)
    if not wanted:
        if as_json:
            print_json(seen)
        else:
            stderr().print("all of them are trusted already")
        return
    if not replace and any(key.state in ("changed", "revoked") for key in seen.keys):
        raise Conflict(f"other keys are known of {seen.host} in {seen.known_hosts}: --replace, if it has new ones")
    if not yes:
        stderr().print("Compare the fingerprints with those that the cluster's administrators give.")
        if not typer.confirm("Trust these keys?", err=True):
            raise typer.Exit(ExitCode.REFUSED)

    async def trust(session: Session) -> SshHostKeys:
        return await session.executor.trust_host_keys(
            seen.resource_id, SshTrust(fingerprints=wanted, replace=replace)
        )

    after = run(context, trust)
    if as_json:
        print_json(after)
    else:
        stderr().print(f"trusted, in {plain(after.known_hosts)}", markup=False)


def _show(seen: SshHostKeys) -> None:
    shown = table("TYPE", "FINGERPRINT", "STATE")
    for key in seen.keys:
        shown.add_row(*cells(key.type, key.fingerprint, key.state))
    stdout().print(f"{plain(seen.host)} port {seen.port}", markup=False)
    stdout().print(shown)
