"""Jobs: submit, plan, list, show, watch, cancel, delete."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stoker.cli import options, submission
from stoker.cli.failures import ExitCode
from stoker.cli.names import find_profile
from stoker.cli.output import (
    cells,
    moment,
    plain,
    print_json,
    print_warnings,
    seconds,
    size,
    state_text,
    stderr,
    stdout,
    table,
)
from stoker.cli.progress import ended, watch_to_end
from stoker.cli.session import Session, run
from stoker.contracts.jobs import FINAL_JOB_STATES, Batch, Job, Plan
from stoker.contracts.pages import Page

app = typer.Typer()

_COMMAND_FOLLOWS = {"allow_interspersed_args": False}


@app.command("submit", context_settings=_COMMAND_FOLLOWS)
def submit(
    context: typer.Context,
    command: submission.Command,
    *,
    profile: options.ProfileOption,
    units: submission.UnitsFile = None,
    units_format: submission.UnitsForm = None,
    file: submission.Files = None,
    name: submission.Name = "",
    env: submission.Environment = None,
    parallel: submission.Parallel = None,
    tasks_per_job: submission.TasksPerJob = None,
    need: submission.NeedsOption = None,
    account: submission.Account = None,
    worker_init: submission.WorkerInit = None,
    extra_line: submission.ExtraLines = None,
    unit_time: submission.UnitTime = None,
    retries: submission.RetryCount = 0,
    retry_on: submission.RetryOn = None,
    retry_memory_factor: submission.MemoryFactor = 1.0,
    retry_time_factor: submission.TimeFactor = 1.0,
    cache_dir: submission.CacheDir = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Show the job until it ends.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Calls with the same key (and job) make one job only.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Submit a job: a command, run once per unit."""
    request = submission.Request(
        profile=profile,
        command=command,
        units=units,
        units_format=units_format,
        files=file or (),
        environment=env or (),
        parallel=parallel,
        tasks_per_job=tasks_per_job,
        scheduling=submission.Scheduling(
            needs=need or (),
            account=account,
            worker_init=worker_init,
            extra_lines=extra_line or (),
            unit_time=unit_time,
            retry_count=retries,
            retry_on=retry_on or (),
            memory_factor=retry_memory_factor,
            time_factor=retry_time_factor,
        ),
        cache_dir=cache_dir,
        name=name,
    )

    async def work(session: Session) -> Job:
        resolved = await request.resolved(session)
        job = await session.executor.submit(resolved, idempotency_key=idempotency_key)
        if not wait:
            return job
        stderr().print(f"job {job.id}", markup=False)
        return await watch_to_end(session.executor, job, stderr())

    job = run(context, work)
    if as_json:
        print_json(job)
    elif wait:
        show_end(job)
    else:
        stdout().print(job.id, markup=False)
        stderr().print(f"[dim]follow it with: stoker watch {job.id}[/]")
    if wait:
        raise typer.Exit(exit_code_of(job))


@app.command("plan", context_settings=_COMMAND_FOLLOWS)
def plan(
    context: typer.Context,
    command: submission.Command,
    *,
    profile: options.ProfileOption,
    units: submission.UnitsFile = None,
    units_format: submission.UnitsForm = None,
    file: submission.Files = None,
    env: submission.Environment = None,
    parallel: submission.Parallel = None,
    tasks_per_job: submission.TasksPerJob = None,
    need: submission.NeedsOption = None,
    account: submission.Account = None,
    worker_init: submission.WorkerInit = None,
    extra_line: submission.ExtraLines = None,
    unit_time: submission.UnitTime = None,
    retries: submission.RetryCount = 0,
    retry_on: submission.RetryOn = None,
    retry_memory_factor: submission.MemoryFactor = 1.0,
    retry_time_factor: submission.TimeFactor = 1.0,
    cache_dir: submission.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Show what submit would do, without doing it."""
    request = submission.Request(
        profile=profile,
        command=command,
        units=units,
        units_format=units_format,
        files=file or (),
        environment=env or (),
        parallel=parallel,
        tasks_per_job=tasks_per_job,
        scheduling=submission.Scheduling(
            needs=need or (),
            account=account,
            worker_init=worker_init,
            extra_lines=extra_line or (),
            unit_time=unit_time,
            retry_count=retries,
            retry_on=retry_on or (),
            memory_factor=retry_memory_factor,
            time_factor=retry_time_factor,
        ),
        cache_dir=cache_dir,
    )

    async def work(session: Session) -> Plan:
        return await session.executor.plan(await request.resolved(session))

    planned = run(context, work)
    if as_json:
        print_json(planned)
        return
    shown = table("BATCH>", "FIRST UNIT>", "UNITS>", "AT ONCE>")
    for batch in planned.batches:
        shown.add_row(*cells(batch.index, batch.first, batch.unit_count, batch.parallel))
    stdout().print(shown)
    print_warnings(planned.warnings)
    if planned.script:
        stdout().print(plain(planned.script), markup=False, soft_wrap=True)


@app.command("jobs")
def jobs(
    context: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="Only jobs of this profile.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="How many jobs a page has.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the last page ended (its next_cursor).")] = None,
    as_json: options.Json = False,
) -> None:
    """List jobs, the newest first."""

    async def work(session: Session) -> Page[Job]:
        profile_id = (await find_profile(session, profile)).id if profile else None
        return await session.executor.jobs(state=state, profile_id=profile_id, name=name, cursor=cursor, limit=limit)

    page = run(context, work)
    if as_json:
        print_json(page)
        return
    shown = table("JOB", "NAME", "STATE", "UNITS>", "ENDED>", "BAD>", "SUBMITTED")
    for job in page.items:
        bad = job.counts.failed + job.counts.lost
        shown.add_row(
            *cells(
                job.id, job.name, state_text(job.state), job.unit_count, ended(job.counts), bad or "", job.created_at
            )
        )
    stdout().print(shown)
    if page.next_cursor:
        stderr().print(f"[dim]more: --cursor {page.next_cursor}[/]")


@app.command("show")
def show(context: typer.Context, job_id: options.JobId, *, as_json: options.Json = False) -> None:
    """Show a job and its batches."""

    async def work(session: Session) -> tuple[Job, list[Batch]]:
        found = await session.executor.job(job_id)
        return found, [batch async for batch in session.executor.batches(job_id)]

    job, batches = run(context, work)
    if as_json:
        print_json({"job": job, "batches": batches})
        return
    console = stdout()
    console.print(_details(job))
    shown = table("BATCH>", "STATE", "UNITS>", "AT ONCE>", "LAUNCH", "HOST", "TOOK>", "CPU>", "PEAK>", "REASON")
    for batch in batches:
        why = batch.reason.text if batch.reason else batch.waiting_for or ""
        if batch.estimated_start is not None and batch.state == "queued":
            why += f" (SLURM expects a start at {moment(batch.estimated_start)})"
        shown.add_row(
            *cells(
                batch.index,
                state_text(batch.state),
                batch.unit_count,
                batch.parallel,
                batch.native_id,
                batch.host,
                seconds(_lasted(batch)),
                seconds(batch.cpu_seconds),
                size(batch.peak_memory_bytes),
                why,
            )
        )
    console.print()
    console.print(shown)
    for batch in batches:
        if batch.remark:
            console.print(Text(f"batch {batch.index}: {plain(batch.remark)}", style="yellow"))


@app.command("watch")
def watch(context: typer.Context, job_id: options.JobId, *, as_json: options.Json = False) -> None:
    """Show a job live until it ends. Ctrl-C leaves the job alone."""

    async def work(session: Session) -> Job:
        return await watch_to_end(session.executor, await session.executor.job(job_id), stderr())

    job = run(context, work)
    if as_json:
        print_json(job)
    else:
        show_end(job)
    raise typer.Exit(exit_code_of(job))


@app.command("cancel")
def cancel(
    context: typer.Context,
    job_id: options.JobId,
    *,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has ended.")] = False,
    as_json: options.Json = False,
) -> None:
    """End a job. What has finished keeps its results."""

    async def work(session: Session) -> Job:
        job = await session.executor.cancel(job_id)
        return await watch_to_end(session.executor, job, stderr()) if wait else job

    job = run(context, work)
    if as_json:
        print_json(job)
    elif job.state in FINAL_JOB_STATES:
        show_end(job)
    else:
        stdout().print(f"{job.id} is being cancelled", markup=False)


@app.command("rerun")
def rerun(context: typer.Context, job_id: options.JobId, *, as_json: options.Json = False) -> None:
    """Submit a job again as a new one: the same command, units and files."""

    async def work(session: Session) -> Job:
        return await session.executor.rerun(job_id)

    job = run(context, work)
    if as_json:
        print_json(job)
    else:
        stdout().print(job.id, markup=False)


@app.command("delete")
def delete(context: typer.Context, job_id: options.JobId) -> None:
    """Remove a job that has ended: its folder, results and logs."""

    async def work(session: Session) -> None:
        await session.executor.delete_job(job_id)

    run(context, work)


def _details(job: Job) -> Table:
    shown = Table(show_header=False, box=None, pad_edge=False)
    shown.add_column(style="dim")
    shown.add_column(overflow="fold")
    counted = [
        f"{count} {word}"
        for word in ("waiting", "running", "succeeded", "failed", "cancelled", "lost")
        if (count := getattr(job.counts, word))
    ]
    rows: dict[str, object] = {
        "job": job.id,
        "name": job.name,
        "state": state_text(job.state),
        "reason": job.reason.text if job.reason else "",
        "waiting for": job.waiting_for,
        "units": f"{job.unit_count} ({', '.join(counted)})",
        "command": " ".join(job.command),
        "owner": job.owner,
        "submitted": job.created_at,
        "started": job.started_at,
        "ended": job.ended_at,
        "took": seconds(_lasted(job)),
        "folder": job.folder,
        "disk": size(job.disk_bytes),
    }
    for label, value in rows.items():
        if value:
            shown.add_row(*cells(label, value))
    return shown


def _lasted(what: Job | Batch) -> float | None:
    return (what.ended_at - what.started_at).total_seconds() if what.ended_at and what.started_at else None


def show_end(job: Job) -> None:
    """Print how a job ended, in one line."""
    why = f": {plain(job.reason.text)}" if job.reason else ""
    done = f" ({job.counts.succeeded} of {job.unit_count} units succeeded)"
    stdout().print(Text(f"{job.id} ") + state_text(job.state) + Text(done + why))


def exit_code_of(job: Job) -> ExitCode:
    """What a command that waited for a job ends with."""
    return ExitCode.OK if job.state == "succeeded" else ExitCode.JOB_FAILED
