"""`stoker up`: what it keeps running, what it leaves alone, what it refuses."""

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.fixtures import running
from tests.stack.running import PROCESSES, ProcessName, RunningStack, process_lives, wait_for


def sleeper(stack: RunningStack, go: Path) -> str:
    """A running job whose unit ends when `go` appears; returns its id."""
    script = f"echo once >> '{go}.ran'; while [ ! -e '{go}' ]; do sleep 0.05; done"
    job: str = stack.json("submit", "-p", "local", "--", "sh", "-c", script)["id"]
    wait_for(Path(f"{go}.ran").exists, 120, stack.logs)
    return job


@pytest.fixture(scope="module")
def mended_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of which one process after the other is killed, and started again by the supervisor."""
    yield from running(tmp_path_factory.mktemp("mended") / "state")


@pytest.mark.parametrize("name", PROCESSES)
def test_a_killed_process_comes_back_and_a_running_job_does_not_notice(
    mended_stack: RunningStack, tmp_path: Path, name: ProcessName
) -> None:
    job = sleeper(mended_stack, tmp_path / "go")
    before = mended_stack.record
    mended_stack.restarted(name, mended_stack.kill(name))
    mended_stack.ready()
    assert (mended_stack.record.registry, mended_stack.record.executor) == (before.registry, before.executor)
    assert mended_stack.record.processes[name].restarts > before.processes[name].restarts
    (tmp_path / "go").touch()
    assert mended_stack.run("watch", job).code == 0
    assert (tmp_path / "go.ran").read_text() == "once\n"


def test_stopping_leaves_running_jobs_alone_and_says_so(own_stack: RunningStack, tmp_path: Path) -> None:
    job = sleeper(own_stack, tmp_path / "go")
    pids = [record.pid for record in own_stack.record.processes.values()]
    own_stack.stop()
    assert not any(map(process_lives, pids))
    assert own_stack.folder.read_record() is None
    assert "1 job goes on" in (tmp_path / "state.up.log").read_text()
    (tmp_path / "go").touch()
    own_stack.start()
    assert own_stack.run("watch", job).code == 0
    assert (tmp_path / "go.ran").read_text() == "once\n"


def test_a_killed_supervisor_leaves_no_service_behind_but_the_job(own_stack: RunningStack, tmp_path: Path) -> None:
    job = sleeper(own_stack, tmp_path / "go")
    own_stack.kill_supervisor()
    own_stack.start()
    assert own_stack.json("show", job)["job"]["state"] in {"queued", "running"}
    (tmp_path / "go").touch()
    assert own_stack.run("watch", job).code == 0
    assert (tmp_path / "go.ran").read_text() == "once\n"


def test_ctrl_c_stops_it_and_down_does_too(own_stack: RunningStack) -> None:
    os.kill(own_stack.record.supervisor_pid, signal.SIGINT)
    wait_for(lambda: not own_stack.folder.in_use(), 120, own_stack.logs)
    own_stack.start()
    assert own_stack.run("down").code == 0
    assert not own_stack.folder.in_use()
    assert own_stack.run("down").code == 3


def test_two_stacks_never_share_a_folder(stack: RunningStack) -> None:
    ran = stack.run("up", "--registry-port=0", "--executor-port=0", "--poller-port=0")
    assert (ran.code, "runs in" in ran.err) == (3, True), ran
    assert stack.run("jobs").code == 0


def test_a_taken_port_is_named_with_the_option_that_mends_it(stack: RunningStack, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = stack.run("--state-dir", str(tmp_path / "other"), "up", f"--executor-port={port}", "--registry-port=0")
    assert (ran.code, "--executor-port" in ran.err) == (3, True), ran


def test_a_service_that_cannot_start_is_told_with_the_end_of_its_log(stack: RunningStack, tmp_path: Path) -> None:
    ran = stack.run(
        *("--state-dir", str(tmp_path / "other"), "up", "--registry-port=0", "--executor-port=0", "--poller-port=0"),
        environment={"STOKER_RETENTION_DAYS": "-1"},
    )
    assert ran.code == 4
    assert "STOKER_RETENTION_DAYS" in ran.err
    assert "Traceback" not in ran.err


def test_only_the_owner_can_enter_the_folder_or_read_the_keys(stack: RunningStack) -> None:
    assert stat.S_IMODE(stack.folder.path.stat().st_mode) == 0o700
    for key in (stack.folder.admin_key, stack.folder.service_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_no_key_is_in_a_service_s_environment(stack: RunningStack) -> None:
    for record in stack.record.processes.values():
        assert b"stk_" not in Path(f"/proc/{record.pid}/environ").read_bytes()


def test_migrating_twice_changes_nothing(stack: RunningStack, tmp_path: Path) -> None:
    for _ in range(2):
        assert stack.run("--state-dir", str(tmp_path / "new"), "migrate").code == 0


def test_a_state_folder_may_have_a_long_path(stack: RunningStack, tmp_path: Path) -> None:
    where = ("--state-dir", str(tmp_path / ("long" * 20) / ("long" * 20)))
    ran = stack.run(*where, "up", "-d", "--json", "--registry-port=0", "--executor-port=0", "--poller-port=0")
    try:
        assert ran.code == 0, ran
        assert stack.run(*where, "submit", "-p", "local", "--wait", "--", "true").code == 0
    finally:
        assert stack.run(*where, "down").code == 0


def test_up_returns_when_it_is_ready_if_told_to_detach(stack: RunningStack, tmp_path: Path) -> None:
    where = ("--state-dir", str(tmp_path / "other"))
    ran = stack.run(*where, "up", "--detach", "--json", "--registry-port=0", "--executor-port=0", "--poller-port=0")
    try:
        assert ran.code == 0, ran
        assert ran.json["ready"] is True
        assert stack.run(*where, "jobs").code == 0
    finally:
        assert stack.run(*where, "down").code == 0
