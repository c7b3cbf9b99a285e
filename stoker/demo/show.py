"""The demonstration itself: a stack of its own, one job, a table."""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from shared.contracts.jobs import Job, UnitResult
from stoker.demo import count_package
from stoker.demo.packages import standard_library_packages
from stoker.output import cells, table
from stoker.progress import watch_to_end
from stoker.session import Session
from stoker.stack.ports import usable_port
from stoker.stack.programs import SERVICES, StackSettings
from stoker.stack.state_folder import StateFolder
from stoker.stack.supervisor import Supervisor
from stoker.submission import Request

_TOP = 15
_COLUMNS = ("files", "lines", "classes", "functions", "imports")


async def demonstrate(out: Console, progress: Console) -> Job:
    """Start a stack in a temporary folder, run the job, show its results, stop the stack. Returns the job."""
    with tempfile.TemporaryDirectory(prefix="stoker-demo-", ignore_cleanup_errors=True) as temporary:
        folder = StateFolder(Path(temporary) / "state")
        folder.prepare()
        with folder.locked():
            ports = {service: usable_port("127.0.0.1", 0, "") for service in SERVICES}
            settings = StackSettings(host="127.0.0.1", ports=ports)
            supervisor = Supervisor(folder, settings, say=lambda text: progress.print(f"[dim]{text} …[/]"))
            demonstration = asyncio.create_task(_in_stack(supervisor, folder, out, progress))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, demonstration.cancel)
            try:
                return await demonstration
            finally:
                await supervisor.stop()


async def _in_stack(supervisor: Supervisor, folder: StateFolder, out: Console, progress: Console) -> Job:
    record = await supervisor.start()
    for service in SERVICES:
        progress.print(f"[dim]  {service:<9} {getattr(record, service)}[/]")
    async with Session(folder, local_only=True) as session:
        job = await _run_job(session, progress)
        results = [result async for result in session.executor.results(job.id)]
    _show_results(results, out)
    return job


async def _run_job(session: Session, progress: Console) -> Job:
    script = Path(count_package.__file__)
    command = [sys.executable, script.name, "--args-json", "{args_json}", "--out-json", "{out_json}"]
    request = Request(profile="local", command=command, files=[str(script)], name="standard library")
    submit = await request.resolved(session)
    submit.units = list(standard_library_packages())
    job = await session.executor.submit(submit)
    progress.print(f"job {job.id}: {job.unit_count} packages of Python's standard library, one unit each")
    try:
        return await watch_to_end(session.executor, job, progress)
    except asyncio.CancelledError:
        await session.executor.cancel(job.id)  # nothing of the demonstration outlives it
        raise


def _show_results(results: list[UnitResult], out: Console) -> None:
    counted: list[dict[str, Any]] = [result.output for result in results if result.state == "succeeded"]
    counted.sort(key=lambda package: package["lines"], reverse=True)
    shown = table("PACKAGE", *(f"{name.upper()}>" for name in _COLUMNS), title=f"The {_TOP} largest packages")
    for package in counted[:_TOP]:
        shown.add_row(*cells(package["package"], *(f"{package[name]:,}" for name in _COLUMNS)))
    shown.add_section()
    totals = (f"{sum(package[name] for package in counted):,}" for name in _COLUMNS)
    shown.add_row(*cells(f"all {len(counted)}", *totals), style="bold")
    out.print(shown)
