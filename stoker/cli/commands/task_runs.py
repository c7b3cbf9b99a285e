"""Running a task of an environment."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from stoker.cli import options, submission
from stoker.cli.commands.environments import EnvironmentId
from stoker.cli.commands.jobs import exit_code_of, show_end
from stoker.cli.names import find_profile
from stoker.cli.output import print_json, stderr, stdout
from stoker.cli.progress import watch_to_end
from stoker.cli.session import Session, run
from stoker.contracts.jobs import Job, JobSubmit
from stoker.contracts.tasks import TaskRun
from stoker.errors import Invalid

app = typer.Typer()

_ARGUMENTS = "a JSON object, or @FILE with one."


@app.command("run")
def run_task(
    context: typer.Context,
    environment: EnvironmentId,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's name.")],
    *,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help="The profile to run as; by default the environment's.")
    ] = None,
    zarr_url: Annotated[list[str] | None, typer.Option(help="An image; may be repeated.")] = None,
    zarr_dir: Annotated[str | None, typer.Option(help="The folder that new images go to.")] = None,
    args: Annotated[str | None, typer.Option(help=f"The task's own arguments: {_ARGUMENTS}")] = None,
    args_init: Annotated[str | None, typer.Option(help=f"Those of a compound task's init: {_ARGUMENTS}")] = None,
    need: submission.NeedsOption = None,
    name: submission.Name = "",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Show the job until it ends.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Calls with the same key (and job) make one job only.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Run a task of an environment."""
    needs = submission.Scheduling(needs=need or ()).fields()["needs"]
    given, given_init = _object(args, "--args"), _object(args_init, "--args-init")

    async def work(session: Session) -> Job:
        found = await session.executor.environment(environment)
        known = [one async for one in session.executor.tasks(environment_id=environment)]
        of_type = next((one.type for one in known if one.name == task), "")
        once = of_type in ("non_parallel", "converter_non_parallel")
        wanted = JobSubmit(
            profile_id=(await find_profile(session, profile)).id if profile else found.profile_id,
            name=name or task,
            needs=needs,
            task=TaskRun(
                environment_id=environment,
                task=task,
                zarr_dir=zarr_dir,
                zarr_urls=zarr_url or [],
                arguments_non_parallel=given if once else given_init,
                arguments_parallel={} if once else given,
            ),
        )
        job = await session.executor.submit(wanted, idempotency_key=idempotency_key)
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


def _object(text: str | None, option: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        content = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        return msgspec.json.decode(content, type=dict[str, Any])
    except OSError as error:
        raise Invalid(f"{option}: {text[1:]}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Invalid(f"{option} must be a JSON object: {error}") from error
