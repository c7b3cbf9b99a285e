"""A cluster's queue."""

import typer

from stoker.cli import options
from stoker.cli.names import find_resource
from stoker.cli.output import cells, plain, print_json, seconds, stderr, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.queues import ClusterQueue, QueueEntry

app = typer.Typer()

_PAGE = 1000


@app.command("queue")
def queue(context: typer.Context, resource: options.ResourceName, *, as_json: options.Json = False) -> None:
    """Show a cluster's queue, as the poller saw it last: it looks while jobs run there."""

    async def work(session: Session) -> tuple[ClusterQueue, list[QueueEntry]]:
        found = await find_resource(session, resource)
        page = await session.poller.queue(found.id, limit=_PAGE)
        entries = list(page.items)
        while page.next_cursor is not None:
            page = await session.poller.queue(found.id, cursor=page.next_cursor, limit=_PAGE)
            entries += page.items
        return page, entries

    seen, entries = run(context, work)
    if as_json:
        print_json({"looked_at": seen.looked_at, "age_seconds": seen.age_seconds, "items": entries})
        return
    show(seen, entries)


def show(seen: ClusterQueue, entries: list[QueueEntry]) -> None:
    """Print the queue as a table, and above it how old it is."""
    stderr().print(f"seen {seconds(seen.age_seconds)} ago{_doubts(seen)}", markup=False, soft_wrap=True)
    shown = table("JOB", "USER", "STATE", "PARTITION", "NODES>", "CPUS>", "MEMORY>", "START", "NAME", "WHY IT WAITS")
    for one in entries:
        shown.add_row(
            *cells(
                one.native_id,
                one.user or "-",
                one.state,
                one.partition,
                one.nodes,
                one.cpus,
                one.memory,
                one.starts_at,
                one.name or "-",
                one.reason,
            )
        )
    stdout().print(shown)


def _doubts(seen: ClusterQueue) -> str:
    if seen.scheduler_error is not None:
        return f"; since then: {plain(seen.scheduler_error)}"
    return "" if seen.watched else "; nobody looks now, because no job is watched there"
