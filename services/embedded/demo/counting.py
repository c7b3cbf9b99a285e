"""The first part of the demonstration: one job of many units over what every machine has, and a table."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from services.embedded.demo import count_package
from services.embedded.demo.jobs import run_job
from services.embedded.demo.packages import standard_library_packages
from stoker.cli.output import cells, table
from stoker.cli.session import Session
from stoker.cli.submission import Request
from stoker.contracts.jobs import UnitResult

_TOP = 15
_COLUMNS = ("files", "lines", "classes", "functions", "imports")


async def count_standard_library(session: Session, out: Console, progress: Console) -> bool:
    """Count the packages, one unit each, and show the table. Returns whether all went well."""
    script = Path(count_package.__file__)
    command = [sys.executable, script.name, "--args-json", "{args_json}", "--out-json", "{out_json}"]
    request = Request(profile="local", command=command, files=[str(script)], name="standard library")
    submit = await request.resolved(session)
    submit.units = list(standard_library_packages())
    what = f"{len(submit.units)} packages of Python's standard library, one unit each"
    job = await run_job(session.executor, submit, what, progress)
    _show_results([result async for result in session.executor.results(job.id)], out)
    return job.state == "succeeded"


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
