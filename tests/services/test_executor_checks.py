"""Checks of a profile: what is wrong is found before a job finds it, with the line that mends it."""

import pytest

from shared.remote.bundle import agent_source
from stoker.clients.executor import ExecutorClient
from stoker.contracts.checks import CheckReport, Finding
from stoker.errors import NotFound
from tests.workshop.serving import World

# What is looked at is the same on every database.
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def findings(report: CheckReport) -> dict[str, Finding]:
    return {finding.name: finding for finding in report.findings}


async def test_a_good_profile_is_usable_and_a_real_job_shows_it(world: World, working: ExecutorClient) -> None:
    report = await working.check(world.profile.id, test_job=True)
    assert report.usable, report
    assert {finding.name: finding.level for finding in report.findings} == {
        "registry": "ok",
        "bus": "ok",
        "agent": "ok",
        "clock": "ok",
        "jobs folder": "ok",
        "free space": "ok",
        "python": "ok",
        "test job": "ok",
    }
    # Nothing is left of it.
    assert (await working.jobs()).items == []
    assert [path.name for path in world.jobs_dir.rglob("*") if path.is_file()] == []


async def test_what_hinders_jobs_is_an_error_with_its_mend(world: World, executor: ExecutorClient) -> None:
    world.jobs_dir.write_text("a file where the folder should be")
    report = await executor.check(world.profile.id, test_job=True)
    assert not report.usable
    wrong = findings(report)["jobs folder"]
    assert wrong.level == "error"
    assert str(world.jobs_dir) in wrong.detail
    assert "mkdir" in wrong.mend
    # There is no point in running one.
    assert "test job" not in findings(report)


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("os.link = refuse", "Operation not permitted"),
        ("import fcntl; fcntl.flock = refuse", "Operation not permitted"),
    ],
)
async def test_a_file_system_without_links_or_locks_is_found_before_a_job_finds_it(
    world: World, executor: ExecutorClient, monkeypatch: pytest.MonkeyPatch, without: str, words: str
) -> None:
    """The agent's process does without them, as on FUSE, CIFS and some mounts of Lustre."""
    refuse = "import os\ndef refuse(*_, **__):\n    raise PermissionError(1, os.strerror(1))\n"
    source = f"{refuse}{without}\n".encode() + agent_source()
    monkeypatch.setattr("shared.pipes.local.agent_source", lambda: source)
    wrong = findings(await executor.check(world.profile.id))["jobs folder"]
    assert wrong.level == "error"
    assert "refuses locks or hard links" in wrong.detail
    assert words in wrong.detail
    assert "-o flock" in wrong.mend
    # What nobody holds a lock on is removed, which cannot be told without locks.
    assert "flock" in without or not [path.name for path in world.jobs_dir.iterdir()]


async def test_what_is_only_doubtful_is_a_warning(world: World, executor: ExecutorClient) -> None:
    changes = {
        "prevent_new_submissions": True,
        "tasks_python_config": {"default_version": "3", "versions": {"3": "/nowhere/python3"}},
        "jobs_runner_config": {"parallel_tasks_per_job": 100_000},
    }
    await world.registry_client.patch_resource(world.resource.id, changes)
    report = await executor.check(world.profile.id)
    assert report.usable
    found = findings(report)
    for name in ("new jobs", "python", "parallel units"):
        assert (found[name].level, bool(found[name].mend)) == ("warning", True), found[name]


async def test_a_bus_that_is_away_is_found(world: World) -> None:
    async with world.executor(STOKER_REDIS_URL=f"unix://{world.folder}/nothing.sock") as executor:
        found = findings(await executor.check(world.profile.id))
    assert found["bus"].level == "error"
    assert "STOKER_REDIS_URL" in found["bus"].mend


async def test_profiles_that_are_not_granted_look_absent_to_checks(world: World, executor: ExecutorClient) -> None:
    key = await world.user_key(world.registry_client, "bob", granted=False)
    async with world.client(key) as bob:
        with pytest.raises(NotFound):
            await bob.check(world.profile.id)
    with pytest.raises(NotFound):
        await executor.check("0" * 26)
