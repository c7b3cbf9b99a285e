"""The wheel `stoker-server`: the programs, and the command line that finds them."""

import json
import shutil
from pathlib import Path

import pytest

from shared.remote.bundle import agent_source
from tests.over_http.address import StackAddress
from tests.stack.command_line import CommandLine
from tests.stack.running import RunningStack
from tests.workshop.registry import seed
from tests.workshop.wheels import Installation, Wheel


def test_it_is_the_services_and_what_they_share_and_needs_its_own_version(wheels: tuple[Wheel, Wheel]) -> None:
    first, second = wheels
    tops = {name.partition("/")[0] for name in second.names}
    assert tops == {"services", "shared", f"stoker_server-{second.version}.dist-info"}
    always = [str(need) for need in second.requirements if need.marker is None]
    assert (always, second.version) == ([f"stoker=={first.version}"], first.version)


def test_a_stack_of_both_is_used_by_the_command_line_of_the_first_and_ended_by_down(
    public: Installation, whole: Installation, tmp_path: Path
) -> None:
    stack = RunningStack(tmp_path / "state", stoker=[str(whole.bin / "stoker")])
    migrated = stack.run("migrate")
    assert "the databases are up to date" in migrated.err, migrated
    try:
        stack.start()
        record = stack.record
        there = StackAddress(record.registry, record.executor, record.poller, stack.admin_key)
        stoker = CommandLine(there.settings, stoker=[str(public.bin / "stoker")])
        submitted = stoker.run("submit", "--profile", "local", "--wait", "--", "echo", "hello")
        assert submitted.code == 0, submitted
        (job,) = stoker.json("jobs")["items"]
        assert (job["state"], stoker.run("logs", job["id"], "0").out) == ("succeeded", "hello\n")

        (tmp_path / "cluster.json").write_text(json.dumps(seed("resource_slurm_sudo")))
        assert stoker.run("resource", "add", str(tmp_path / "cluster.json")).code == 0
        rule = stack.run("sudoers", "SLURM cluster", "--service-user", "stoker", "--as", "ada")
        assert rule.out.startswith("stoker ALL=(ada) NOPASSWD:"), rule

        assert stack.run("down").code == 0
        assert stack.folder.read_record() is None
    finally:
        stack.stop()


def test_it_prints_the_agent_of_this_version(whole: Installation) -> None:
    assert whole.run("-m", "stoker", "agent").stdout.encode() == agent_source()


def test_it_brings_the_demonstration(whole: Installation) -> None:
    ran = whole.run("-m", "stoker", "demo", "--help")
    assert (ran.returncode, "Show Stoker at work" in ran.stdout) == (0, True), ran


@pytest.mark.parametrize("service", ["registry", "executor", "poller"])
def test_a_service_needs_its_extra_alone(wheels: tuple[Wheel, Wheel], tmp_path: Path, service: str) -> None:
    installation = Installation(tmp_path / "venv", *wheels, extras=[service])
    assert installation.run("-m", "stoker", "--version").returncode == 0
    # As in the images, which have no command line.
    for name in ("stoker/cli", "typer", "rich"):
        shutil.rmtree(installation.packages / name)
    ran = installation.run("-m", f"services.{service}", "--help")
    assert (ran.returncode, "serve" in ran.stdout) == (0, True), ran.stderr
