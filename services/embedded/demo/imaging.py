"""The second part of the demonstration: an environment of a real task package, and one of its tasks on a real image.

The image is made, and the picture drawn, by the package's own libraries: both are jobs that the environment's Python
runs, so that Stoker needs none of them.
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from services.embedded.demo.building import build
from services.embedded.demo.jobs import run_job
from stoker.cli.names import find_profile
from stoker.cli.output import plain, size
from stoker.cli.session import Session
from stoker.cli.submission import Request
from stoker.clients import ExecutorClient
from stoker.contracts.environments import Environment, EnvironmentFromPypi
from stoker.contracts.jobs import Job, JobSubmit
from stoker.contracts.tasks import TaskRun

_PACKAGE, _VERSION = "fractal-tasks-core", "2.1.0"
_TASK = "Threshold Segmentation"
_CHANNEL, _LABEL = "DAPI", "nuclei"
_UNREACHABLE = "index_unreachable"


async def segment_an_image(session: Session, image: Path, picture: Path, out: Console, progress: Console) -> bool:
    """Make environment, image and picture. Returns whether all went well; without an index there is nothing to do."""
    executor = session.executor
    profile_id = (await find_profile(session, "local")).id
    wanted = EnvironmentFromPypi(profile_id=profile_id, package=_PACKAGE, version=_VERSION)
    environment = await build(executor, wanted, progress)
    if environment.state != "ready":
        return _say_why(environment, out)
    what = f"{environment.package} {environment.version} with {len(environment.task_names)} tasks"
    progress.print(f"{what}, {size(environment.disk_bytes)}, made by {environment.installer}", markup=False)

    make = await _script(session, environment, "make_image.py", {"path": str(image), "channel": _CHANNEL})
    made = await run_job(executor, make, "a small OME-Zarr image, made with the package's own library", progress)
    if made.state != "succeeded":
        return False
    task = await run_job(executor, _task(profile_id, environment, image), f'the task "{_TASK}" on it', progress)
    if task.state != "succeeded":
        return False
    draw = await _script(
        session,
        environment,
        "draw_picture.py",
        {"path": str(image), "channel": _CHANNEL, "label": _LABEL, "picture": str(picture)},
    )
    drawn = await run_job(executor, draw, "a picture of image and result", progress)
    if drawn.state != "succeeded":
        return False
    there, found = (await _output(executor, made))["nuclei"], (await _output(executor, drawn))["objects"]
    out.print(f"The task found {found} of the {there} nuclei in the image: {picture}", markup=False, soft_wrap=True)
    return True


def _task(profile_id: str, environment: Environment, image: Path) -> JobSubmit:
    arguments = {
        "channel": {"mode": "label", "identifier": _CHANNEL},
        "output_label_name": _LABEL,
        "pre_post_process": {"pre_process": [{"type": "Gaussian Blur Filter", "sigma_xy": 1.0}]},
    }
    run = TaskRun(environment_id=environment.id, task=_TASK, zarr_urls=[str(image)], arguments_parallel=arguments)
    return JobSubmit(profile_id=profile_id, name=_TASK, task=run)


async def _script(session: Session, environment: Environment, name: str, arguments: dict[str, Any]) -> JobSubmit:
    """A job that runs a script beside this module with the environment's Python."""
    script = Path(__file__).with_name(name)
    python = f"{environment.folder}/venv/bin/python"
    command = [python, name, "--args-json", "{args_json}", "--out-json", "{out_json}"]
    submit = await Request(profile="local", command=command, files=[str(script)], name=script.stem).resolved(session)
    submit.units = [arguments]
    return submit


async def _output(executor: ExecutorClient, job: Job) -> dict[str, Any]:
    """What the only unit of a job answered."""
    results = [result async for result in executor.results(job.id)]
    answer: dict[str, Any] = results[0].output
    return answer


def _say_why(environment: Environment, out: Console) -> bool:
    reason = environment.activity.reason if environment.activity else None
    code, text = (reason.code, reason.text) if reason else ("", f"it is {environment.state}")
    skipped = code == _UNREACHABLE
    told = "is left out, as no package index is reached from here" if skipped else "failed"
    out.print(plain(f"The part with a task package {told}: {text}"), markup=False, soft_wrap=True)
    return skipped
