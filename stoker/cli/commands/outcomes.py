"""What a job left: logs, results, the archive."""

import csv
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from stoker.cli import options
from stoker.cli.output import cells, print_json_line, size, state_text, stderr, stdout, table
from stoker.cli.session import Session, run
from stoker.contracts.jobs import FINAL_JOB_STATES, UnitResult
from stoker.errors import Invalid, Unavailable

app = typer.Typer()

_MANY_ROWS = 1000


class ResultsFormat(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@app.command("logs")
def logs(
    context: typer.Context,
    job_id: options.JobId,
    unit: Annotated[int | None, typer.Argument(min=0, metavar="[UNIT]", help="One unit's number.")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    offset: Annotated[int, typer.Option(min=0, help="Begin at this byte (of a unit's log).")] = 0,
) -> None:
    """Print the log of a job, or of one of its units, byte for byte."""

    async def work(session: Session) -> None:
        if unit is None:
            chunks: AsyncIterator[bytes] = session.executor.log(job_id, follow=follow)
        else:
            chunks = session.executor.unit_log(job_id, unit, offset=offset, follow=follow)
        async for chunk in chunks:
            sys.stdout.buffer.write(chunk)
            if follow:
                sys.stdout.buffer.flush()
        sys.stdout.buffer.flush()
        if follow and unit is None and (await session.executor.job(job_id)).state not in FINAL_JOB_STATES:
            raise Unavailable("the executor stopped: the job goes on, run this again to see more")

    run(context, work)


@app.command("results")
def results(
    context: typer.Context,
    job_id: options.JobId,
    *,
    form: Annotated[ResultsFormat, typer.Option("--format", help="How to write them.")] = ResultsFormat.TABLE,
    as_json: options.Json = False,
) -> None:
    """Print the result of each unit, in order."""
    form = ResultsFormat.JSON if as_json else form

    async def work(session: Session) -> None:
        found = session.executor.results(job_id)
        match form:
            case ResultsFormat.TABLE:
                await _as_table(found)
            case ResultsFormat.JSON:
                await _as_json(found)
            case ResultsFormat.JSONL:
                async for result in found:
                    print_json_line(result)
            case ResultsFormat.CSV:
                await _as_csv(found)

    run(context, work)


@app.command("archive")
def archive(
    context: typer.Context,
    job_id: options.JobId,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip file to write; - for standard output.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Save a job's folder as a zip file. The file appears when it is complete."""

    async def work(session: Session) -> int:
        chunks = session.executor.archive(job_id)
        if str(output) == "-":
            return await _write(chunks, sys.stdout.fileno())
        if output.exists() and not force:
            raise Invalid(f"{output} exists already (--force replaces it)")
        partial = output.with_name(f".{output.name}.part")
        try:
            count = await _write(chunks, partial)
            partial.replace(output)
        except OSError as error:
            raise Invalid(f"{output} cannot be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
        return count

    stderr().print(f"{output}: {size(run(context, work))}", markup=False)


async def _write(chunks: AsyncIterator[bytes], target: Path | int) -> int:
    count = 0
    with open(target, "wb", closefd=not isinstance(target, int)) as file:  # noqa: ASYNC230 - one user waits
        async for chunk in chunks:
            file.write(chunk)
            count += len(chunk)
    return count


async def _as_table(found: AsyncIterator[UnitResult]) -> None:
    shown = table("UNIT>", "STATE", "OUTPUT OR REASON")
    left_out = 0
    async for result in found:
        if shown.row_count < _MANY_ROWS:
            what = result.reason.text if result.reason else _compact(result.output)
            shown.add_row(*cells(result.index, state_text(result.state), what))
        else:
            left_out += 1
    stdout().print(shown)
    if left_out:
        stderr().print(f"[dim]… and {left_out} more: --format jsonl or csv writes all[/]")


async def _as_json(found: AsyncIterator[UnitResult]) -> None:
    before = "[\n"
    async for result in found:
        sys.stdout.write(before + msgspec.json.encode(result).decode())
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


async def _as_csv(found: AsyncIterator[UnitResult]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(["index", "state", "output", "reason_code", "reason"])
    async for result in found:
        code, text = (result.reason.code, result.reason.text) if result.reason else ("", "")
        writer.writerow([result.index, result.state, _compact(result.output), code, text])


def _compact(output: object) -> str:
    return "" if output is None else msgspec.json.encode(output).decode()
