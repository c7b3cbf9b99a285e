"""What must be so before the services of a stack can start: databases at their present form, and keys."""

from collections.abc import Mapping
from typing import Any

from services.embedded.process import run_to_end
from services.embedded.programs import ServiceName, StackSettings, service_command, service_environment
from stoker.cli.state_folder import StateFolder
from stoker.errors import Invalid, Unavailable

MIGRATED: tuple[ServiceName, ...] = ("registry", "executor")


async def migrate(folder: StateFolder, settings: StackSettings) -> None:
    """Bring both databases to the form that this version works with. Safe to repeat. Raises Unavailable."""
    for service in MIGRATED:
        await _run(service, ["migrate"], service_environment(service, folder, settings), folder)


async def bootstrap_keys(folder: StateFolder, settings: StackSettings) -> None:
    """Make the first keys, once, and keep them in the state folder. Raises Unavailable and Invalid."""
    environment = service_environment("registry", folder, settings)
    for path, arguments in ((folder.service_key, ["--service"]), (folder.admin_key, [])):
        if folder.read_key(path) is None:
            printed = await _run("registry", ["bootstrap", *arguments], environment, folder)
            folder.write_key(path, _key(printed))


async def _run(
    service: ServiceName, arguments: list[str], environment: Mapping[str, str], folder: StateFolder
) -> str:
    command = service_command(service, *arguments)
    code, output, complaint = await run_to_end(command, environment=environment, folder=folder.path)
    if code:
        said = (complaint.strip() or output.strip())[-2000:]
        raise Unavailable(f"`services.{service} {' '.join(arguments)}` ended with {code}:\n{said}")
    return output


def _key(printed: str) -> str:
    for word in printed.split():
        if word.startswith("stk_"):
            return word
    raise Invalid("the registry's bootstrap printed no key")


def first_resource(folder: StateFolder, python: str, version: str) -> dict[str, Any]:
    """Return the configuration of the resource that a new stack begins with: this machine."""
    return {
        "type": "local",
        "name": "local",
        "jobs_local_dir": str(folder.jobs),
        "jobs_runner_config": {"parallel_tasks_per_job": None},
        "tasks_local_dir": str(folder.tasks),
        "tasks_python_config": {"default_version": version, "versions": {version: python}},
    }
