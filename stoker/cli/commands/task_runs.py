"""Running a task of an environment."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from stoker.cli import options, submission
from stoker.cli.commands.environments import EnvironmentId
from stoker.cli.commands.jobs import exit_code_of, show_end
from stoker.cli.documents import read_bytes
from stoker.cli.names import find_profile
from stoker.cli.output import print_json, stderr, stdout
from stoker.cli.progress import watch_to_end
from stoker.cli.session import Session, run
from stoker.contracts.jobs import Job
from stoker.contracts.needs import PartNeeds
from stoker.contracts.tasks import TaskRun, TaskType
from stoker.errors import Invalid, NotFound

app = typer.Typer()

_ARGUMENTS = "a JSON object, or @FILE with one."
_COMPOUND: frozenset[TaskType] = frozenset({"compound", "converter_compound"})
_CONVERTERS: frozenset[TaskType] = frozenset({"converter_non_parallel", "converter_compound"})


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say of the task's data and parts."""

    zarr_urls: Sequence[str]
    zarr_dir: str | None
    arguments: Mapping[str, Any]
    arguments_init: Mapping[str, Any] | None
    needs_init: PartNeeds | None
    needs_compute: PartNeeds | None

    def run(self, environment: str, task: str, kind: TaskType | None) -> TaskRun:
        """The run of a task of this type. Raises Invalid for every option that it cannot use."""
        if kind is None:
            return TaskRun(environment_id=environment, task=task)
        if useless := list(self._useless(kind)):
            raise Invalid(f"the task {task!r} is of type {kind}: {'; '.join(useless)}")
        once = kind in ("non_parallel", "converter_non_parallel")
        return TaskRun(
            environment_id=environment,
            task=task,
            zarr_dir=self.zarr_dir,
            zarr_urls=list(self.zarr_urls),
            arguments_non_parallel=dict(self.arguments if once else self.arguments_init or {}),
            arguments_parallel={} if once else dict(self.arguments),
            needs_non_parallel=self.needs_init or PartNeeds(),
            needs_parallel=self.needs_compute or PartNeeds(),
        )

    def _useless(self, kind: TaskType) -> Iterator[str]:
        if kind not in _COMPOUND:
            given = {
                "--args-init": self.arguments_init,
                "--need-init": self.needs_init,
                "--need-compute": self.needs_compute,
            }
            yield from (f"it has no init, for which {name} is" for name, value in given.items() if value is not None)
        if kind in _CONVERTERS and self.zarr_urls:
            yield "it makes images and gets none, so that --zarr-url and --zarr-urls mean nothing to it"
        if kind == "parallel" and self.zarr_dir is not None:
            yield "it gets one image at a time, so that --zarr-dir means nothing to it"


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
    zarr_urls: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Images from a file: a line each, or a JSON list; - reads them from standard input."
        ),
    ] = None,
    zarr_dir: Annotated[str | None, typer.Option(help="The folder that new images go to.")] = None,
    args: Annotated[str | None, typer.Option(help=f"The task's own arguments: {_ARGUMENTS}")] = None,
    args_init: Annotated[str | None, typer.Option(help=f"Those of a compound task's init: {_ARGUMENTS}")] = None,
    name: submission.Name = "",
    file: submission.Files = None,
    env: submission.Environment = None,
    parallel: submission.Parallel = None,
    tasks_per_job: submission.TasksPerJob = None,
    need: submission.NeedsOption = None,
    need_init: submission.NeedsInit = None,
    need_compute: submission.NeedsCompute = None,
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
    """Run a task of an environment. An option that a task of its type cannot use is an error."""
    request = submission.Request(
        profile=profile or "",
        command=(),
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
        name=name or task,
    )
    wish = Wish(
        zarr_urls=[*(zarr_url or []), *(read_images(zarr_urls) if zarr_urls else [])],
        zarr_dir=zarr_dir,
        arguments=_object(args, "--args"),
        arguments_init=None if args_init is None else _object(args_init, "--args-init"),
        needs_init=submission.part_needs("--need-init", need_init) if need_init else None,
        needs_compute=submission.part_needs("--need-compute", need_compute) if need_compute else None,
    )
    call = request.call()

    async def work(session: Session) -> Job:
        found = await session.executor.environment(environment)
        call.profile_id = (await find_profile(session, profile)).id if profile else found.profile_id
        call.task = wish.run(environment, task, await _type_of(session, environment, task))
        job = await session.executor.submit(call, idempotency_key=idempotency_key)
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


async def _type_of(session: Session, environment: str, task: str) -> TaskType | None:
    """The task's type; None where the environment is not ready, and has no tasks yet."""
    types = {one.name: one.type async for one in session.executor.tasks(environment_id=environment)}
    if types and task not in types:
        raise NotFound(f"the environment has no task {task!r} (there are: {', '.join(types)})")
    return types.get(task)


def read_images(source: str) -> list[str]:
    """Read the images of a file: a path in each line, or a JSON list. Raises Invalid."""
    content = read_bytes(source)
    try:
        if content.lstrip()[:1] == b"[":
            return msgspec.json.decode(content, type=list[str])
        return [line.strip() for line in content.decode().splitlines() if line.strip()]
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Invalid(
            f"--zarr-urls {source} must hold a path in each line, or a JSON list of them: {error}"
        ) from error


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
