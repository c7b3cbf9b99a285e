"""`stoker key …`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from stoker.cli import options
from stoker.cli.names import find_profile
from stoker.cli.output import cells, print_json, stderr, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.keys import AccessKey, AccessKeyCreate, NewAccessKey

app = typer.Typer(no_args_is_help=True, help="Who may call.")


class RoleChoice(StrEnum):
    """What a key may do."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name to recognise the key by.")],
    *,
    role: Annotated[RoleChoice, typer.Option(help="What the key may do.")] = RoleChoice.USER,
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", help="A profile that a user's key may use. Repeatable.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Whose jobs it sees and makes; the key's name by default.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; never by default.")] = None,
    as_json: options.Json = False,
) -> None:
    """Make a key. It is shown this once."""

    async def work(session: Session) -> NewAccessKey:
        new = AccessKeyCreate(
            name=name,
            role=role.value,
            owner=owner,
            profile_ids=[(await find_profile(session, granted)).id for granted in profile or []],
            expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
        )
        return await session.registry.create_access_key(new)

    made = run(context, work)
    if as_json:
        print_json(made)
        return
    stdout().print(made.key, markup=False, soft_wrap=True)
    stderr().print("[dim]This is the only time that the key is shown. Use it as STOKER_KEY.[/]")


@app.command("list")
def list_all(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the keys; never their secrets."""

    async def work(session: Session) -> Sequence[AccessKey]:
        return [key async for key in session.registry.access_keys()]

    found = run(context, work)
    if as_json:
        print_json(found)
        return
    shown = table("ID", "NAME", "ROLE", "OWNER", "PROFILES>", "EXPIRES", "LAST USED")
    for key in found:
        granted = len(key.profile_ids) if key.role == "user" else "all"
        expires = key.expires_at or "never"
        shown.add_row(*cells(key.id, key.name, key.role, key.owner, granted, expires, key.last_used_at))
    stdout().print(shown)


@app.command("revoke")
def revoke(
    context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's id.")]
) -> None:
    """Revoke a key. Services forget it within a minute."""

    async def work(session: Session) -> None:
        await session.registry.delete_access_key(key_id)

    run(context, work)
