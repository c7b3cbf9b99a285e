"""The command line against any stack: what it prints for programs, what it says to people, how it exits."""

import io
import json
import secrets
import shlex
import sys
import zipfile
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest

from tests.over_http.address import StackAddress
from tests.over_http.place import Place
from tests.stack.command_line import CommandLine
from tests.stack.running import wait_for
from tests.waiting import WAIT_SECONDS

PYTHON = "/usr/bin/python3"  # where units run
TWICE = """
import json, sys
n = json.load(open(sys.argv[1]))["n"]
json.dump({"twice": 2 * n}, open(sys.argv[2], "w"))
print("n is", n)
"""
ECHO_JSON = [PYTHON, "-c", TWICE, "{args_json}", "{out_json}"]


def resource(name: str) -> dict[str, object]:
    return {
        "type": "local",
        "name": name,
        "jobs_local_dir": "/tmp/stoker-more/jobs",
        "jobs_runner_config": {"parallel_tasks_per_job": 2},
        "tasks_local_dir": "/tmp/stoker-more/tasks",
        "tasks_python_config": {"default_version": "3.11", "versions": {"3.11": PYTHON}},
    }


def archived(stoker: CommandLine, job_id: str, name: str) -> bytes:
    """A file of the job's working folder."""
    reader = stoker.start_command("archive", job_id, "-o", "-")
    content, _ = reader.communicate(timeout=WAIT_SECONDS)
    assert reader.returncode == 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        (kept,) = (kept for kept in archive.namelist() if kept.endswith(f"work/{name}"))
        return archive.read(kept)


def test_a_new_stack_begins_with_this_machine(stoker: CommandLine) -> None:
    assert "local" in {found["name"] for found in stoker.json("resource", "list")}
    assert stoker.json("check", "local")["usable"] is True
    assert stoker.json("check", "local", "local")["usable"] is True
    assert stoker.run("check", "elsewhere", "local").code == 3
    assert stoker.run("check", "local", "local", "local").code == 3


def test_exported_files_are_taken_and_what_was_ignored_or_changed_is_said(
    stoker: CommandLine, tmp_path: Path
) -> None:
    name = f"exported {secrets.token_hex(4)}"
    exported = {**resource(name), "id": 3, "timestamp_created": "2025-10-01T08:00:00Z", "host": None}
    file = tmp_path / "exported.json"
    file.write_text(json.dumps({**exported, "jobs_poll_interval": "2"}))
    added = stoker.run("resource", "add", str(file))
    assert (added.code, name in added.out) == (0, True), added
    for words in ("id was ignored", "timestamp_created was ignored", 'jobs_poll_interval: "2" was taken as 2'):
        assert f"warning: {words}" in added.err
    profile = {"id": 1, "resource_id": 3, "resource_type": "local", "name": name, "username": None}
    made = stoker.run("profile", "add", name, "-", stdin=json.dumps(profile).encode())
    assert (made.code, made.err.count("was ignored")) == (0, 2), made
    assert stoker.run("profile", "remove", name).code == 0
    assert stoker.run("resource", "remove", name).code == 0


def test_a_resource_is_added_edited_and_removed(stoker: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "resource.json"
    file.write_text(json.dumps(resource("second place")))
    added = stoker.json("resource", "add", str(file))
    change = "import sys; p = sys.argv[1]; t = open(p).read(); open(p, 'w').write(t.replace(': 2', ': 3'))"
    editors = dict.fromkeys(("EDITOR", "VISUAL"), shlex.join([sys.executable, "-c", change]))
    edited = stoker.run("resource", "edit", "second place", "--json", environment=editors)
    assert edited.code == 0, edited
    assert edited.json["spec"]["jobs_runner_config"] == {"parallel_tasks_per_job": 3}
    assert stoker.run("resource", "show", "second place").json["version"] == edited.json["version"] > added["version"]
    profile = {"resource_type": "local", "name": "nobody"}
    made = stoker.json("profile", "add", "second place", "-", stdin=json.dumps(profile).encode())
    assert [found["id"] for found in stoker.json("profile", "list", "--resource", "second place")] == [made["id"]]
    refused = stoker.run("resource", "remove", "second place")
    assert (refused.code, "profile" in refused.err) == (3, True), refused
    assert stoker.run("profile", "remove", "nobody").code == 0
    assert stoker.run("resource", "remove", added["id"]).code == 0
    assert stoker.run("resource", "show", added["id"]).code == 3


def test_a_wrong_resource_is_refused_with_each_wrong_field(stoker: CommandLine) -> None:
    wrong = {**resource("wrong"), "jobs_local_dir": "relative", "jobs_poll_interval": -3}
    ran = stoker.run("resource", "add", "-", stdin=json.dumps(wrong).encode())
    assert ran.code == 3
    assert "jobs_local_dir" in ran.err
    assert "jobs_poll_interval" in ran.err
    assert "Traceback" not in ran.err


def test_units_come_from_a_table_and_results_go_out_in_order(
    stoker: CommandLine, place: Place, tmp_path: Path
) -> None:
    units = tmp_path / "units.jsonl"
    units.write_text("".join(f'{{"n": {n}}}\n' for n in range(30)))
    job = stoker.json("submit", "--profile", place.profile_id, "--units", str(units), "--wait", "--", *ECHO_JSON)
    assert job["state"] == "succeeded"
    assert job["counts"]["succeeded"] == 30
    results = stoker.json("results", job["id"])
    assert [(result["index"], result["output"]) for result in results] == [(n, {"twice": 2 * n}) for n in range(30)]
    lines = stoker.run("results", job["id"], "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(30))
    table = stoker.run("results", job["id"], "--format", "csv").out.splitlines()
    assert table[:2] == ["index,state,output,reason_code,reason", '0,succeeded,"{""twice"":0}",,']
    assert stoker.run("logs", job["id"], "7").out == "n is 7\n"
    assert "n is 29\n" in stoker.run("logs", job["id"]).out
    shown = stoker.json("show", job["id"])
    assert shown["job"]["id"] == job["id"]
    assert {batch["state"] for batch in shown["batches"]} == {"ended"}


def test_two_thousand_units_run_four_at_a_time_and_their_results_are_complete_and_in_order(
    stoker: CommandLine, tmp_path: Path
) -> None:
    units = tmp_path / "units.jsonl"
    units.write_text("".join(f'{{"n": {n}}}\n' for n in range(2000)))
    # The first four go on when all of them have begun; then nobody waits for anybody.
    meet = "[ {args.n} -ge 4 ] || while [ $(grep -c + trace) -lt 4 ]; do sleep 0.1; done"
    script = f"echo + >> trace; {meet}; echo {{args.n}} > {{out_json}}; echo - >> trace"
    words = ("submit", "-p", "local", "-u", str(units), "-n", "4", "--wait", "--", "sh", "-c", script)
    job = stoker.json(*words)
    assert job["counts"]["succeeded"] == 2000
    lines = stoker.run("results", job["id"], "--format", "jsonl").out.splitlines()
    assert [(one["index"], one["output"]) for one in map(json.loads, lines)] == [(n, n) for n in range(2000)]
    # Lines are appended after a unit's start and before its end: never more of them open than units ran.
    at_once = list(accumulate(1 if line == b"+" else -1 for line in archived(stoker, job["id"], "trace").split()))
    assert len(at_once) == 4000
    assert max(at_once) == 4


def test_a_failed_unit_has_a_line_with_its_reason_and_the_exit_code_says_so(stoker: CommandLine) -> None:
    units = json.dumps([{"code": "0"}, {"code": "3"}]).encode()
    ran = stoker.run(
        "submit", "-p", "local", "-u", "-", "--wait", "--json", "--", "sh", "-c", "exit {args.code}", stdin=units
    )
    assert ran.code == 1
    assert ran.json["state"] == "failed"
    lines = [line for line in ran.err.splitlines() if line.startswith("unit 1 failed: ")]
    assert len(lines) == 1, ran.err
    assert "3" in lines[0]
    again = stoker.run("watch", ran.json["id"])
    assert (again.code, lines[0] in again.err) == (1, True), again


def test_files_and_variables_reach_the_unit(stoker: CommandLine, tmp_path: Path) -> None:
    script, name = tmp_path / "a script.sh", f"greeting {secrets.token_hex(4)}"
    script.write_text('echo "$GREETING from $(cat name.txt)"\n')
    (tmp_path / "n").write_text("here")
    job = stoker.json(
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
        *("--name", name, "--", "sh", "a script.sh"),
    )
    assert job["state"] == "succeeded"
    assert stoker.run("logs", job["id"], "0").out == "hello from here\n"
    assert [found["id"] for found in stoker.json("jobs", "--name", name)["items"]] == [job["id"]]


def test_a_log_is_followed_until_the_unit_ends(stoker: CommandLine, place: Place) -> None:
    script = "trap 'echo last; exit' TERM; echo first; while :; do sleep 0.05; done"
    job = stoker.json("submit", "-p", place.profile_id, "--", "sh", "-c", script)
    follower = stoker.start_command("logs", job["id"], "0", "--follow")
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"first\n"
    assert stoker.run("cancel", job["id"]).code == 0
    rest, _ = follower.communicate(timeout=WAIT_SECONDS)
    # Some shells also write that their `sleep` was terminated.
    assert (follower.returncode, rest.splitlines()[-1:]) == (0, [b"last"])


def test_an_archive_holds_the_jobs_folder(stoker: CommandLine, tmp_path: Path) -> None:
    job = stoker.json("submit", "-p", "local", "--wait", "--", "sh", "-c", "echo kept > kept.txt")
    target = tmp_path / "job.zip"
    assert stoker.run("archive", job["id"], "-o", str(target)).code == 0
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        kept = [name for name in archive.namelist() if name.endswith("work/kept.txt")]
        assert archive.read(kept[0]) == b"kept\n"
    refused = stoker.run("archive", job["id"], "-o", str(target))
    assert (refused.code, "--force" in refused.err) == (3, True)
    assert [file.name for file in tmp_path.iterdir()] == ["job.zip"]


def test_a_plan_changes_nothing(stoker: CommandLine) -> None:
    before = stoker.json("jobs")
    units = json.dumps([{}] * 5).encode()
    planned = stoker.json("plan", "-p", "local", "-u", "-", "-n", "2", "--", "true", stdin=units)
    assert [(batch["first"], batch["unit_count"], batch["parallel"]) for batch in planned["batches"]] == [(0, 5, 2)]
    assert stoker.json("jobs")["items"][:1] == before["items"][:1]


def test_a_cancelled_job_ends_and_cancelling_again_is_answered_clearly(stoker: CommandLine) -> None:
    job = stoker.json("submit", "-p", "local", "--", "sleep", "600")
    shown = partial(stoker.json, "show", job["id"])
    wait_for(lambda: shown()["job"]["counts"]["running"] == 1, WAIT_SECONDS, lambda: str(shown()))
    assert stoker.json("cancel", job["id"], "--wait")["state"] == "cancelled"
    again = stoker.run("cancel", job["id"])
    assert (again.code, "cancelled" in again.err) == (3, True), again
    assert stoker.run("watch", job["id"]).code == 1


def test_the_same_idempotency_key_makes_one_job(stoker: CommandLine) -> None:
    words = ("submit", "-p", "local", "--idempotency-key", secrets.token_hex(8), "--", "true")
    assert stoker.json(*words)["id"] == stoker.json(*words)["id"]
    other = stoker.run(*words[:-1], "false")
    assert (other.code, "idempotency" in other.err.lower()) == (3, True), other


def test_a_job_is_run_again_as_a_new_one(stoker: CommandLine) -> None:
    job = stoker.json("submit", "-p", "local", "--name", "twice", "--wait", "--", "echo", "again")
    second = stoker.json("rerun", job["id"])
    assert second["id"] != job["id"]
    assert stoker.run("watch", second["id"]).code == 0
    assert stoker.run("logs", second["id"], "0").out == "again\n"


def test_a_deleted_job_is_gone(stoker: CommandLine) -> None:
    job = stoker.json("submit", "-p", "local", "--wait", "--", "true")
    assert stoker.run("delete", job["id"]).code == 0
    assert stoker.run("show", job["id"]).code == 3


def test_disk_use_is_shown_per_resource(stoker: CommandLine) -> None:
    stoker.json("submit", "-p", "local", "--wait", "--", "true")
    local = next(found for found in stoker.json("resource", "list") if found["name"] == "local")
    usage = {found["resource_id"]: found for found in stoker.json("usage")["resources"]}
    assert usage[local["id"]]["jobs"] >= 1
    assert usage[local["id"]]["disk_bytes"] > 0
    assert "local" in stoker.run("usage").out


def test_a_users_key_sees_its_own_jobs_only_and_is_shown_once(stoker: CommandLine, all_places: list[Place]) -> None:
    # Where there are clusters, a local profile is for administrators alone.
    place = next((place for place in all_places if place.on_cluster), all_places[0])
    profile = place.profile_id
    ran = stoker.run("key", "create", "reader", "--profile", profile, "--json")
    if StackAddress.is_given() and not place.on_cluster and "STOKER_RESOURCE_TYPES" in ran.err:
        pytest.skip(f"this stack has no profile that users can be granted: {ran.err}")
    made = ran.json
    assert made["key"] not in json.dumps(stoker.json("key", "list"))
    theirs = stoker.json("submit", "-p", profile, "--", "true")
    as_reader = {"STOKER_KEY": made["key"]}
    assert stoker.run("show", theirs["id"], environment=as_reader).code == 3
    own = stoker.run("submit", "-p", profile, "--json", "--", "true", environment=as_reader).json
    listed = stoker.run("jobs", "--json", environment=as_reader).json
    assert [job["id"] for job in listed["items"]] == [own["id"]]
    assert stoker.run("key", "list", environment=as_reader).code == 3
    assert stoker.run("key", "revoke", made["access_key"]["id"]).code == 0


def test_an_address_where_nobody_answers_is_told_as_unavailable(stoker: CommandLine) -> None:
    ran = stoker.run("jobs", environment={"STOKER_EXECUTOR_URL": "http://127.0.0.1:1", "STOKER_KEY": "x"})
    assert ran.code == 4
    assert "does not answer" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("words", [["submit", "--", "true"], ["no-such-command"], ["logs", "x", "not-a-number"]])
def test_wrong_usage_exits_with_two(stoker: CommandLine, words: list[str]) -> None:
    assert stoker.run(*words).code == 2


def test_unknown_names_are_told_with_where_to_look(stoker: CommandLine) -> None:
    ran = stoker.run("submit", "-p", "nowhere", "--", "true")
    assert (ran.code, "stoker profile list" in ran.err) == (3, True)


def test_a_resource_without_a_queue_is_told(stoker: CommandLine) -> None:
    ran = stoker.run("queue", "local")
    assert (ran.code, "looks only while a SLURM job runs there" in ran.err) == (3, True)


def test_the_archive_can_be_written_to_standard_output(stoker: CommandLine) -> None:
    job = stoker.json("submit", "-p", "local", "--wait", "--", "sh", "-c", "echo kept > kept.txt")
    assert archived(stoker, job["id"], "kept.txt") == b"kept\n"
