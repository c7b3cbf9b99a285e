"""`stoker up`, `stoker down`, `stoker migrate`."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from services.embedded.ports import usable_port
from services.embedded.preparation import migrate as migrate_databases
from services.embedded.programs import RESTART_SECONDS, SERVICES, StackSettings
from services.embedded.supervisor import Supervisor
from stoker.cli import options
from stoker.cli.output import plain, print_json_line, stderr, stdout
from stoker.cli.state_folder import StackRecord, StateFolder
from stoker.errors import NotFound, Unavailable

app = typer.Typer()

StateDir = Annotated[Path | None, typer.Option("--state-dir", help="The folder that keeps everything.")]
Host = Annotated[str, typer.Option(help="The address that the services listen on.")]
RegistryDatabase = Annotated[
    str | None,
    typer.Option(envvar="STOKER_REGISTRY_DATABASE_URL", help="postgresql://… instead of SQLite in the folder."),
]
ExecutorDatabase = Annotated[
    str | None,
    typer.Option(envvar="STOKER_EXECUTOR_DATABASE_URL", help="postgresql://… instead of SQLite in the folder."),
]
RedisUrl = Annotated[
    str | None, typer.Option(envvar="STOKER_REDIS_URL", help="redis://… instead of the embedded server.")
]
RestartSeconds = Annotated[
    float,
    typer.Option(
        envvar="STOKER_RESTART_SECONDS", min=0.1, help="The longest pause before what has ended is started again."
    ),
]


def _port(service: str) -> object:
    return typer.Option(min=0, max=65535, help=f"Port of the {service}; 0 picks a free one.")


@app.command("up")
def up(
    context: typer.Context,
    *,
    state_dir: StateDir = None,
    host: Host = "127.0.0.1",
    registry_port: Annotated[int, _port("registry")] = 8701,
    executor_port: Annotated[int, _port("executor")] = 8702,
    poller_port: Annotated[int, _port("poller")] = 8703,
    registry_database_url: RegistryDatabase = None,
    executor_database_url: ExecutorDatabase = None,
    redis_url: RedisUrl = None,
    restart_seconds: RestartSeconds = RESTART_SECONDS,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; see `down`.")] = False,
    as_json: options.Json = False,
) -> None:
    """Run all of Stoker on this machine until Ctrl-C; jobs that run then go on."""
    folder = StateFolder((state_dir or context.obj).absolute())
    folder.prepare()
    if detach:
        _show_ready(_detached(folder), folder, as_json=as_json)
        return
    with folder.locked():
        wanted = {"registry": registry_port, "executor": executor_port, "poller": poller_port}
        settings = StackSettings(
            host=host,
            ports={service: usable_port(host, wanted[service], f"--{service}-port") for service in SERVICES},
            registry_database_url=registry_database_url,
            executor_database_url=executor_database_url,
            redis_url=redis_url,
            restart_seconds=restart_seconds,
        )
        asyncio.run(_run_stack(folder, settings, as_json=as_json))


@app.command("down")
def down(context: typer.Context, *, state_dir: StateDir = None) -> None:
    """Stop the stack of the state folder; jobs that run go on."""
    folder = StateFolder((state_dir or context.obj).absolute())
    record = folder.read_record()
    if record is None or not folder.in_use():
        raise NotFound(f"no stack runs in {folder.path}")
    os.kill(record.supervisor_pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while folder.in_use():
        if time.monotonic() > deadline:
            raise Unavailable(f"the stack in {folder.path} (process {record.supervisor_pid}) does not stop")
        time.sleep(0.05)


@app.command("migrate")
def migrate(
    context: typer.Context,
    *,
    state_dir: StateDir = None,
    registry_database_url: RegistryDatabase = None,
    executor_database_url: ExecutorDatabase = None,
) -> None:
    """Bring the databases of registry and executor to this version's form (`up` does it by itself)."""
    folder = StateFolder((state_dir or context.obj).absolute())
    folder.prepare()
    settings = StackSettings(
        host="127.0.0.1",
        ports=dict.fromkeys(SERVICES, 0),
        registry_database_url=registry_database_url,
        executor_database_url=executor_database_url,
    )
    with folder.locked():
        asyncio.run(migrate_databases(folder, settings))
    stderr().print("the databases are up to date")


async def _run_stack(folder: StateFolder, settings: StackSettings, *, as_json: bool) -> None:
    console = stderr()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    supervisor = Supervisor(folder, settings, say=lambda text: console.print(f"[dim]{text} …[/]"))
    try:
        starting = asyncio.create_task(supervisor.start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            _show_ready(starting.result(), folder, as_json=as_json)
            await supervisor.run(stop)
            await _say_what_goes_on(supervisor, console)
        else:
            starting.cancel()
        stopping.cancel()
    finally:
        await supervisor.stop()


async def _say_what_goes_on(supervisor: Supervisor, console: Console) -> None:
    jobs = await supervisor.unfinished_jobs()
    console.print("[dim]stopping …[/]")
    if jobs:
        are = "job goes" if jobs == 1 else "jobs go"
        console.print(f"{jobs} {are} on without the services; the next `stoker up` takes them up again.")


def _show_ready(record: StackRecord, folder: StateFolder, *, as_json: bool) -> None:
    if as_json:
        print_json_line({"state_dir": str(folder.path), **_fields(record)})
        sys.stdout.flush()
        return
    console = stdout()
    console.print(Text("Stoker is ready.", style="bold green"))
    for service in SERVICES:
        console.print(f"  {service:<9} {getattr(record, service)}", markup=False)
    console.print(f"  folder    {plain(str(folder.path))}", markup=False, soft_wrap=True)
    console.print(f"  admin key {plain(str(folder.admin_key))}", markup=False, soft_wrap=True)
    console.print("Try, in another terminal:")
    console.print("  stoker submit --profile local --wait -- echo hello", markup=False)


def _fields(record: StackRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _detached(folder: StateFolder) -> StackRecord:
    """Start the same command again, on its own, and wait until it is ready."""
    arguments = [argument for argument in sys.argv[1:] if argument not in {"--detach", "-d"}]
    log = folder.logs / "up.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "stoker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while child.poll() is None:
        record = folder.read_record()
        if record is not None and record.ready and record.supervisor_pid == child.pid:
            return record
        time.sleep(0.05)
    raise Unavailable(f"it did not start:\n{log.read_text(errors='replace')[-3000:].strip()}")
