"""The command line against a real stack: what it prints for programs, what it says to people, how it exits."""

import io
import json
import sys
import zipfile
from itertools import accumulate
from pathlib import Path

import pytest

from tests.stack.running import RunningStack, wait_for

PYTHON = sys.executable
TWICE = """
import json, sys
n = json.load(open(sys.argv[1]))["n"]
json.dump({"twice": 2 * n}, open(sys.argv[2], "w"))
print("n is", n)
"""
ECHO_JSON = [PYTHON, "-c", TWICE, "{args_json}", "{out_json}"]


def resource(stack: RunningStack, name: str) -> dict[str, object]:
    return {
        "type": "local",
        "name": name,
        "jobs_local_dir": str(stack.folder.path / "more jobs"),
        "jobs_runner_config": {"parallel_tasks_per_job": 2},
        "tasks_local_dir": str(stack.folder.path / "tasks"),
        "tasks_python_config": {"default_version": "3.11", "versions": {"3.11": PYTHON}},
    }


def test_a_new_stack_begins_with_this_machine(stack: RunningStack) -> None:
    assert "local" in {found["name"] for found in stack.json("resource", "list")}
    assert stack.json("check", "local")["usable"] is True
    assert stack.json("check", "local", "local")["usable"] is True
    assert stack.run("check", "elsewhere", "local").code == 3
    assert stack.run("check", "local", "local", "local").code == 3


def test_a_resource_is_added_edited_and_removed(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "resource.json"
    file.write_text(json.dumps(resource(stack, "second place")))
    added = stack.json("resource", "add", str(file))
    editor = f"{PYTHON} -c \"import sys;p=sys.argv[1];t=open(p).read();open(p,'w').write(t.replace(': 2',': 3'))\""
    edited = stack.run("resource", "edit", "second place", "--json", environment={"EDITOR": editor, "VISUAL": editor})
    assert edited.code == 0, edited
    assert edited.json["spec"]["jobs_runner_config"] == {"parallel_tasks_per_job": 3}
    assert stack.run("resource", "show", "second place").json["version"] == edited.json["version"] > added["version"]
    profile = {"resource_type": "local", "name": "nobody"}
    made = stack.json("profile", "add", "second place", "-", stdin=json.dumps(profile).encode())
    assert [found["id"] for found in stack.json("profile", "list", "--resource", "second place")] == [made["id"]]
    refused = stack.run("resource", "remove", "second place")
    assert (refused.code, "profile" in refused.err) == (3, True), refused
    assert stack.run("profile", "remove", "nobody").code == 0
    assert stack.run("resource", "remove", added["id"]).code == 0
    assert stack.run("resource", "show", added["id"]).code == 3


def test_a_wrong_resource_is_refused_with_each_wrong_field(stack: RunningStack) -> None:
    wrong = {**resource(stack, "wrong"), "jobs_local_dir": "relative", "jobs_poll_interval": -3}
    ran = stack.run("resource", "add", "-", stdin=json.dumps(wrong).encode())
    assert ran.code == 3
    assert "jobs_local_dir" in ran.err
    assert "jobs_poll_interval" in ran.err
    assert "Traceback" not in ran.err


def test_units_come_from_a_table_and_results_go_out_in_order(stack: RunningStack, tmp_path: Path) -> None:
    units = tmp_path / "units.jsonl"
    units.write_text("".join(f'{{"n": {n}}}\n' for n in range(30)))
    job = stack.json("submit", "--profile", "local", "--units", str(units), "--wait", "--", *ECHO_JSON)
    assert job["state"] == "succeeded"
    assert job["counts"]["succeeded"] == 30
    results = stack.json("results", job["id"])
    assert [(result["index"], result["output"]) for result in results] == [(n, {"twice": 2 * n}) for n in range(30)]
    lines = stack.run("results", job["id"], "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(30))
    table = stack.run("results", job["id"], "--format", "csv").out.splitlines()
    assert table[:2] == ["index,state,output,reason_code,reason", '0,succeeded,"{""twice"":0}",,']
    assert stack.run("logs", job["id"], "7").out == "n is 7\n"
    assert "n is 29\n" in stack.run("logs", job["id"]).out
    shown = stack.json("show", job["id"])
    assert shown["job"]["id"] == job["id"]
    assert [batch["state"] for batch in shown["batches"]] == ["ended"]


def test_two_thousand_units_run_four_at_a_time_and_their_results_are_complete_and_in_order(
    stack: RunningStack, tmp_path: Path
) -> None:
    trace, units = tmp_path / "trace", tmp_path / "units.jsonl"
    units.write_text("".join(f'{{"n": {n}}}\n' for n in range(2000)))
    # The first four go on when all of them have begun; then nobody waits for anybody.
    meet = f"[ {{args.n}} -ge 4 ] || while [ $(grep -c + '{trace}') -lt 4 ]; do sleep 0.1; done"
    script = f"echo + >> '{trace}'; {meet}; echo {{args.n}} > {{out_json}}; echo - >> '{trace}'"
    words = ("submit", "-p", "local", "-u", str(units), "-n", "4", "--wait", "--", "sh", "-c", script)
    job = stack.json(*words)
    assert job["counts"]["succeeded"] == 2000
    lines = stack.run("results", job["id"], "--format", "jsonl").out.splitlines()
    assert [(one["index"], one["output"]) for one in map(json.loads, lines)] == [(n, n) for n in range(2000)]
    # Lines are appended after a unit's start and before its end: never more of them open than units ran.
    at_once = list(accumulate(1 if line == "+" else -1 for line in trace.read_text().split()))
    assert len(at_once) == 4000
    assert max(at_once) == 4


def test_a_failed_unit_has_a_line_with_its_reason_and_the_exit_code_says_so(stack: RunningStack) -> None:
    units = json.dumps([{"code": "0"}, {"code": "3"}]).encode()
    ran = stack.run(
        "submit", "-p", "local", "-u", "-", "--wait", "--json", "--", "sh", "-c", "exit {args.code}", stdin=units
    )
    assert ran.code == 1
    assert ran.json["state"] == "failed"
    lines = [line for line in ran.err.splitlines() if line.startswith("unit 1 failed: ")]
    assert len(lines) == 1, ran.err
    assert "3" in lines[0]
    again = stack.run("watch", ran.json["id"])
    assert (again.code, lines[0] in again.err) == (1, True), again


def test_files_and_variables_reach_the_unit(stack: RunningStack, tmp_path: Path) -> None:
    script = tmp_path / "a script.sh"
    script.write_text('echo "$GREETING from $(cat name.txt)"\n')
    (tmp_path / "n").write_text("here")
    job = stack.json(
        *(
            "submit",
            "-p",
            "local",
            "-f",
            str(script),
            "-f",
            f"{tmp_path}/n=name.txt",
            "-e",
            "GREETING=hello",
            "--wait",
        ),
        *("--name", "greeting", "--", "sh", "a script.sh"),
    )
    assert job["state"] == "succeeded"
    assert stack.run("logs", job["id"], "0").out == "hello from here\n"
    assert [found["id"] for found in stack.json("jobs", "--name", "greeting")["items"]] == [job["id"]]


def test_a_log_is_followed_until_the_unit_ends(stack: RunningStack, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo first; while [ ! -e '{go}' ]; do sleep 0.05; done; echo last"
    job = stack.json("submit", "-p", "local", "--", "sh", "-c", script)
    follower = stack.start_command("logs", job["id"], "0", "--follow")
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"first\n"
    go.touch()
    rest, _ = follower.communicate(timeout=60)
    assert (follower.returncode, rest) == (0, b"last\n")


def test_an_archive_holds_the_jobs_folder(stack: RunningStack, tmp_path: Path) -> None:
    job = stack.json("submit", "-p", "local", "--wait", "--", "sh", "-c", "echo kept > kept.txt")
    target = tmp_path / "job.zip"
    assert stack.run("archive", job["id"], "-o", str(target)).code == 0
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        kept = [name for name in archive.namelist() if name.endswith("work/kept.txt")]
        assert archive.read(kept[0]) == b"kept\n"
    refused = stack.run("archive", job["id"], "-o", str(target))
    assert (refused.code, "--force" in refused.err) == (3, True)
    assert [file.name for file in tmp_path.iterdir()] == ["job.zip"]


def test_a_plan_changes_nothing(stack: RunningStack) -> None:
    before = stack.json("jobs")
    units = json.dumps([{}] * 5).encode()
    planned = stack.json("plan", "-p", "local", "-u", "-", "-n", "2", "--", "true", stdin=units)
    assert [(batch["first"], batch["unit_count"], batch["parallel"]) for batch in planned["batches"]] == [(0, 5, 2)]
    assert stack.json("jobs")["items"][:1] == before["items"][:1]


def test_a_cancelled_job_ends_and_cancelling_again_is_answered_clearly(stack: RunningStack) -> None:
    job = stack.json("submit", "-p", "local", "--", "sleep", "600")
    wait_for(lambda: stack.json("show", job["id"])["job"]["counts"]["running"] == 1, 120, stack.logs)
    assert stack.json("cancel", job["id"], "--wait")["state"] == "cancelled"
    again = stack.run("cancel", job["id"])
    assert (again.code, "cancelled" in again.err) == (3, True), again
    assert stack.run("watch", job["id"]).code == 1


def test_the_same_idempotency_key_makes_one_job(stack: RunningStack) -> None:
    words = ("submit", "-p", "local", "--idempotency-key", "only-once", "--", "true")
    assert stack.json(*words)["id"] == stack.json(*words)["id"]
    other = stack.run(*words[:-1], "false")
    assert (other.code, "idempotency" in other.err.lower()) == (3, True), other


def test_a_job_is_run_again_as_a_new_one(stack: RunningStack) -> None:
    job = stack.json("submit", "-p", "local", "--name", "twice", "--wait", "--", "echo", "again")
    second = stack.json("rerun", job["id"])
    assert second["id"] != job["id"]
    assert stack.run("watch", second["id"]).code == 0
    assert stack.run("logs", second["id"], "0").out == "again\n"


def test_a_deleted_job_is_gone(stack: RunningStack) -> None:
    job = stack.json("submit", "-p", "local", "--wait", "--", "true")
    assert stack.run("delete", job["id"]).code == 0
    assert stack.run("show", job["id"]).code == 3


def test_disk_use_is_shown_per_resource(stack: RunningStack) -> None:
    stack.json("submit", "-p", "local", "--wait", "--", "true")
    local = next(found for found in stack.json("resource", "list") if found["name"] == "local")
    usage = {found["resource_id"]: found for found in stack.json("usage")["resources"]}
    assert usage[local["id"]]["jobs"] >= 1
    assert usage[local["id"]]["disk_bytes"] > 0
    assert "local" in stack.run("usage").out


def test_a_users_key_sees_its_own_jobs_only_and_is_shown_once(stack: RunningStack) -> None:
    made = stack.json("key", "create", "reader", "--profile", "local")
    assert made["key"] not in json.dumps(stack.json("key", "list"))
    theirs = stack.json("submit", "-p", "local", "--", "true")
    as_reader = {"STOKER_KEY": made["key"]}
    assert stack.run("show", theirs["id"], environment=as_reader).code == 3
    own = stack.run("submit", "-p", "local", "--json", "--", "true", environment=as_reader).json
    listed = stack.run("jobs", "--json", environment=as_reader).json
    assert [job["id"] for job in listed["items"]] == [own["id"]]
    assert stack.run("key", "list", environment=as_reader).code == 3
    assert stack.run("key", "revoke", made["access_key"]["id"]).code == 0


def test_the_stacks_own_key_never_goes_to_another_address(stack: RunningStack) -> None:
    ran = stack.run("jobs", environment={"STOKER_EXECUTOR_URL": stack.record.executor})
    assert (ran.code, "STOKER_KEY" in ran.err) == (3, True)


def test_an_address_where_nobody_answers_is_told_as_unavailable(stack: RunningStack) -> None:
    ran = stack.run("jobs", environment={"STOKER_EXECUTOR_URL": "http://127.0.0.1:1", "STOKER_KEY": "x"})
    assert ran.code == 4
    assert "does not answer" in ran.err
    assert "Traceback" not in ran.err


def test_without_a_stack_the_way_to_start_one_is_told(stack: RunningStack, tmp_path: Path) -> None:
    ran = stack.run("--state-dir", str(tmp_path), "jobs")
    assert (ran.code, "stoker up" in ran.err) == (3, True)


@pytest.mark.parametrize("words", [["submit", "--", "true"], ["no-such-command"], ["logs", "x", "not-a-number"]])
def test_wrong_usage_exits_with_two(stack: RunningStack, words: list[str]) -> None:
    assert stack.run(*words).code == 2


def test_unknown_names_are_told_with_where_to_look(stack: RunningStack) -> None:
    ran = stack.run("submit", "-p", "nowhere", "--", "true")
    assert (ran.code, "stoker profile list" in ran.err) == (3, True)


def test_a_resource_without_a_queue_is_told(stack: RunningStack) -> None:
    ran = stack.run("queue", "local")
    assert (ran.code, "looks only while a SLURM job runs there" in ran.err) == (3, True)


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


def test_the_archive_can_be_written_to_standard_output(stack: RunningStack) -> None:
    job = stack.json("submit", "-p", "local", "--wait", "--", "true")
    reader = stack.start_command("archive", job["id"], "-o", "-")
    content, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
