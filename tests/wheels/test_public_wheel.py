"""The wheel `stoker`: what another project gets that installs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workshop.wheels import Installation, Wheel

OTHERS_PROGRAM = """
from collections.abc import AsyncIterator
from contextlib import aclosing

from stoker import (
    Conflict, EnvironmentCreate, EnvironmentFromPypi, ExecutorClient, Job, JobEvent, JobState, JobSubmit, Needs, Page,
    PollerClient, Profile, RegistryClient, ResourceHealth, StokerError, TaskRun, Unavailable,
)


async def profiles(registry: RegistryClient) -> list[Profile]:
    return [profile async for profile in registry.profiles(name="local")]


async def submit(executor: ExecutorClient, profile: Profile) -> Job:
    submission = JobSubmit(profile_id=profile.id, command=["echo", "{unit}"], units=[{}], needs=Needs(mem="1G"))
    try:
        return await executor.submit(submission)
    except Conflict as error:
        raise SystemExit(f"{error.slug}: {error.message}") from error


async def follow(executor: ExecutorClient, job: Job) -> AsyncIterator[JobState]:
    def say(error: Unavailable) -> None:
        print(error.retry_after_seconds)

    async with aclosing(executor.events(job.id, on_outage=say)) as events:
        async for event in events:
            moved: JobEvent = event
            yield moved.state


async def health(url: str, key: str) -> list[ResourceHealth]:
    async with PollerClient(url, key) as poller:
        return await poller.resources_health()


async def names(executor: ExecutorClient) -> list[str]:
    page: Page[Job] = await executor.jobs(limit=10)
    return [job.name for job in page.items]


def environment(profile: Profile) -> EnvironmentCreate:
    return EnvironmentFromPypi(profile_id=profile.id, package="some-tasks")


def is_ours(error: Exception) -> bool:
    return isinstance(error, StokerError)
"""
WRONG_PROGRAM = """
from stoker import ExecutorClient, JobSubmit


async def submit(executor: ExecutorClient) -> int:
    job = await executor.submit(JobSubmit(profile_id=1))
    return job.id
"""


def test_it_brings_the_name_stoker_and_no_other(wheels: tuple[Wheel, Wheel]) -> None:
    tops = {name.partition("/")[0] for name in wheels[0].names}
    assert tops == {"stoker", f"stoker-{wheels[0].version}.dist-info"}
    assert "stoker/py.typed" in wheels[0].names


def test_it_needs_at_most_five_others(wheels: tuple[Wheel, Wheel]) -> None:
    assert {need.name for need in wheels[0].requirements} == {"httpx", "msgspec", "rich", "typer"}


def test_a_strict_type_checker_of_another_project_sees_its_types(public: Installation, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(OTHERS_PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG_PROGRAM)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={public.python}",
         f"--cache-dir={tmp_path / 'cache'}", "--no-error-summary", "program.py", "wrong.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    said = checked.stdout.splitlines()
    found = [(line.partition(":")[0], line.rpartition("[")[2]) for line in said]
    assert found == [("wrong.py", "arg-type]"), ("wrong.py", "return-value]")], checked.stdout + checked.stderr


def test_an_error_is_printed_under_the_name_that_it_is_caught_by(public: Installation) -> None:
    program = """
import asyncio, stoker
async def ask():
    async with stoker.RegistryClient("http://127.0.0.1:9", "a-key", attempts=1) as registry:
        await registry.resource("any")
asyncio.run(ask())
"""
    ran = public.run("-c", program)
    assert ran.stderr.splitlines()[-1].startswith("stoker.errors.Unavailable: the registry at http://127.0.0.1:9 ")


@pytest.mark.parametrize("name", ["Conflict", "Forbidden", "Invalid", "NotFound", "StokerError", "Unauthorized"])
def test_every_error_is_of_the_public_module(public: Installation, name: str) -> None:
    assert public.run("-c", f"import stoker; print(stoker.{name})").stdout == f"<class 'stoker.errors.{name}'>\n"


@pytest.mark.parametrize("command", ["up", "down", "migrate", "demo", "agent", "sudoers"])
def test_commands_of_the_other_wheel_say_what_to_install(public: Installation, command: str) -> None:
    ran = public.run("-m", "stoker", command, "--help")
    assert ran.returncode == 3, ran
    assert f"stoker {command} " in ran.stderr
    assert "pip install 'stoker-server[embedded]'" in " ".join(ran.stderr.split())


def test_its_help_lists_what_it_can_do(public: Installation) -> None:
    ran = public.run("-m", "stoker", "--help")
    assert ran.returncode == 0, ran
    assert "submit" in ran.stdout
    assert "migrate" not in ran.stdout
    assert public.run("-m", "stoker", "--version").stdout.startswith("stoker ")
