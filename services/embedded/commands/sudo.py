"""`stoker agent` and `stoker sudoers`: what an administrator installs where a cluster is reached through sudo."""

import getpass
import sys
from typing import Annotated

import typer

from shared.pipes.sudo.sudoers import sudoers_rule
from shared.remote.bundle import agent_source
from shared.service.settings import INSTALLED_AGENT
from stoker.cli import options
from stoker.cli.names import find_resource
from stoker.cli.output import stderr, stdout
from stoker.cli.session import Session, run
from stoker.contracts.profiles import SlurmSudoProfileSpec
from stoker.contracts.resources import Resource, SlurmSudoResourceSpec
from stoker.errors import Invalid

app = typer.Typer()


@app.command("agent")
def agent() -> None:
    """Print the agent, the one file that is installed where sudo or a forced SSH command starts it."""
    sys.stdout.buffer.write(agent_source())


@app.command("sudoers")
def sudoers(
    context: typer.Context,
    resource: options.ResourceName,
    *,
    service_user: Annotated[
        str | None, typer.Option(help="The user that executor and poller run as; default: whoever calls this.")
    ] = None,
    runas: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="USER|%GROUP",
            help="Whom the service may act as; default: the users of the resource's profiles. Repeatable.",
        ),
    ] = None,
    agent_file: Annotated[str, typer.Option(help="Where the agent is installed.")] = INSTALLED_AGENT,
) -> None:
    """Print the sudo rule of a resource: one fixed command, as those users and never as root."""

    async def work(session: Session) -> tuple[Resource, list[str]]:
        found = await find_resource(session, resource)
        profiles = [one async for one in session.registry.profiles(resource_id=found.id)]
        users = [one.spec.username for one in profiles if isinstance(one.spec, SlurmSudoProfileSpec)]
        return found, sorted(set(users))

    found, users = run(context, work)
    if not isinstance(found.spec, SlurmSudoResourceSpec):
        raise Invalid(f"{found.name} is a {found.type} resource: sudo rules are for slurm_sudo")
    if not (runas or users):
        raise Invalid("the resource has no profile yet: say whom the service may act as (--as USER, --as %GROUP)")
    rule = sudoers_rule(
        service_user or getpass.getuser(), runas or users, found.spec.jobs_slurm_python_worker, agent_file
    )
    stdout().print(rule, markup=False, soft_wrap=True)
    stderr().print(f"as root: put this line into /etc/sudoers.d/stoker (visudo -f), and stoker agent > {agent_file}")
