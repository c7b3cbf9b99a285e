"""The command line beside a stack that it started itself: keys and logs of that, and what needs no stack at all."""

from pathlib import Path

from tests.stack.running import RunningStack


def test_the_stacks_own_key_never_goes_to_another_address(stack: RunningStack) -> None:
    ran = stack.run("jobs", environment={"STOKER_EXECUTOR_URL": stack.record.executor})
    assert (ran.code, "STOKER_KEY" in ran.err) == (3, True)


def test_without_a_stack_the_way_to_start_one_is_told(stack: RunningStack, tmp_path: Path) -> None:
    ran = stack.run("--state-dir", str(tmp_path), "jobs")
    assert (ran.code, "stoker up" in ran.err) == (3, True)


def test_version_and_completion_need_no_stack(stack: RunningStack) -> None:
    assert stack.run("--version").out.startswith("stoker ")
    # As in bash, whatever these tests were started from.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "stoker" in stack.run("--show-completion", "bash", environment=named).out


def test_no_log_holds_a_key(stack: RunningStack) -> None:
    made = stack.json("key", "create", "secret keeper", "--role", "admin")
    stack.run("jobs", environment={"STOKER_KEY": made["key"]})
    service_key = stack.folder.read_key(stack.folder.service_key)
    written = "".join(log.read_text(errors="replace") for log in stack.folder.logs.iterdir())
    assert written
    for secret in (made["key"], stack.admin_key, service_key):
        assert secret
        assert secret not in written
