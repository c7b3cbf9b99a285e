"""The pool of slots: how many run at once, in which order, and what is written down."""

import json
import os
import re
import signal
from pathlib import Path

from tests.workshop import Workshop, records, results_of, until

_RESERVED_BY_THE_C_LIBRARY = 0b11 << 31

BUMP = """
import fcntl, os, sys, time
with open("running", "a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.seek(0); now = int(lock.read() or 0) + 1
    lock.truncate(0); lock.write(str(now)); lock.flush()
    with open("seen", "a") as seen: seen.write(f"{now}\\n")
deadline = time.monotonic() + 20
while max(map(int, open("seen").read().split())) < int(sys.argv[1]) and time.monotonic() < deadline:
    time.sleep(0.01)
with open("running", "a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.seek(0); now = int(lock.read()) - 1
    lock.truncate(0); lock.write(str(now))
"""


def test_two_thousand_units_each_have_one_result(workshop: Workshop) -> None:
    results = workshop.run(["true"], [{}] * 2000, parallel=4)

    assert sorted(results) == list(range(2000))
    assert {one["outcome"] for one in results.values()} == {"succeeded"}
    assert json.loads((workshop.folder / "end.json").read_text())["how"] == "complete"
    assert json.loads((workshop.folder / "end.json").read_text())["results"] == 2000
    assert records(workshop.folder / "events.jsonl")[-1]["event"] == "end"


def test_never_more_than_p_units_run_at_once_and_p_do(workshop: Workshop) -> None:
    workshop.run(["python3", "-I", "-S", "-c", BUMP, "4"], [{}] * 40, parallel=4)

    seen = [int(line) for line in (workshop.jobs[0].path / "work" / "seen").read_text().split()]
    assert len(seen) == 40
    assert max(seen) == 4


def test_a_free_slot_takes_the_next_unit_while_a_long_one_still_runs(workshop: Workshop) -> None:
    script = "if [ {unit} = 0 ]; then until [ -e release ]; do sleep 0.02; done; fi"
    folder = workshop.batch(["sh", "-c", script], [{}] * 50)
    launched = workshop.launch(folder)
    until(lambda: len(results_of(folder)) == 49)
    assert 0 not in results_of(folder)
    (workshop.jobs[0].path / "work" / "release").touch()
    assert launched.wait() == 0
    assert len(results_of(folder)) == 50


def test_start_events_stand_before_results_and_name_where_the_log_begins(workshop: Workshop) -> None:
    results = workshop.run(["sh", "-c", "echo this is {unit}"], [{}] * 6)

    starts = {one["unit"]: one for one in records(workshop.folder / "events.jsonl") if one["event"] == "start"}
    for unit, result in results.items():
        log = (workshop.folder / "logs" / f"slot-{result['slot']}.log").read_bytes()
        assert log[slice(*result["log"])] == f"this is {unit}\n".encode()
        assert starts[unit]["log_start"] == result["log"][0]
        assert result["start"] <= result["end"]
        assert result["peak_memory_bytes"] > 0
        assert result["cpu_seconds"] >= 0


def test_arguments_travel_in_a_file_and_results_come_back_in_one(workshop: Workshop) -> None:
    script = "import json,sys; a=json.load(open(sys.argv[1])); json.dump({'got': a}, open(sys.argv[2], 'x'))"
    command = ["python3", "-I", "-S", "-c", script, "{args_json}", "{out_json}"]
    results = workshop.run(command, [{"n": i, "text": "ä\n"} for i in range(5)])

    assert [results[i]["output"]["got"]["n"] for i in range(5)] == list(range(5))
    assert not list(workshop.folder.glob("arguments-*")) + list(workshop.folder.glob("output-*"))


def test_values_that_look_like_placeholders_are_not_looked_at_again(workshop: Workshop) -> None:
    workshop.run(
        ["printf", "%s|%s|%s", "{args.a}", "{args.b}", "{nothing}"], [{"a": "{unit}", "b": {"x": [1, None]}}]
    )

    assert (workshop.folder / "logs" / "slot-0.log").read_text() == '{unit}|{"x": [1, null]}|{nothing}'


def test_units_see_the_jobs_variables_and_nothing_of_the_service(workshop: Workshop, monkeypatch) -> None:  # noqa: ANN001
    monkeypatch.setenv("STOKER_SERVICE_KEY", "stk_very_secret")
    monkeypatch.setenv("AWS_SECRET", "also")
    workshop.run(["env"], [{}], environment={"MINE": "a b"})

    log = (workshop.folder / "logs" / "slot-0.log").read_text()
    names = set(re.findall(r"^(\w+)=", log, re.MULTILINE))
    assert "secret" not in log
    assert "MINE=a b\n" in log
    assert {"PATH", "HOME", "FRACTAL_CACHE_DIR", "STOKER_CACHE_DIR", "STOKER_MARK", "STOKER_UNIT"} <= names
    assert names <= {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "MINE", "PWD", "_", "SHLVL"} | {
        name for name in names if name.startswith(("STOKER_", "FRACTAL_"))
    }


def test_units_start_with_default_signals_in_a_session_of_their_own(workshop: Workshop) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    # The runner sets the score just after the start: look until it is there.
    look = (
        f'i=0; while [ "$(cat /proc/$$/oom_score_adj)" = {own} ] && [ $i -lt 500 ]; do sleep 0.01; i=$((i+1)); done'
    )
    show = "exec cat /proc/self/status /proc/self/stat /proc/self/oom_score_adj"
    workshop.run(["sh", "-c", f"{look}; {show}"], [{}])

    log = (workshop.folder / "logs" / "slot-0.log").read_text()
    assert re.search(r"^SigBlk:\s*0+$", log, re.MULTILINE)
    ignored = re.search(r"^SigIgn:\s*([0-9a-f]+)$", log, re.MULTILINE)
    assert ignored
    assert not int(ignored[1], 16) & ~_RESERVED_BY_THE_C_LIBRARY
    stat = re.search(r"^(\d+) \(cat\) R \d+ (\d+) (\d+) ", log, re.MULTILINE)
    assert stat
    assert stat[1] == stat[2] == stat[3]
    assert int(log.splitlines()[-1]) == min(own + 300, 1000)


def test_a_batch_runs_once_and_the_second_launch_says_so(workshop: Workshop) -> None:
    folder = workshop.batch(["sh", "-c", "echo {unit} >> ran"], [{}] * 20)
    first, second = workshop.launch(folder, "a"), workshop.launch(folder, "b")

    assert sorted((first.wait(), second.wait())) == [0, 79]
    assert len(list(folder.glob("lost-claim.*"))) == 1
    assert len((workshop.jobs[0].path / "work" / "ran").read_text().split()) == 20
    assert not list(folder.glob("reserve*"))


def test_a_stop_file_keeps_further_units_from_starting(workshop: Workshop) -> None:
    folder = workshop.batch(["sh", "-c", "[ {unit} -lt 4 ] || { touch late-{unit}; sleep 1000; }"], [{}] * 200)
    launched = workshop.launch(folder)
    until(lambda: len(list((workshop.jobs[0].path / "work").glob("late-*"))) == 2 and len(results_of(folder)) == 4)
    (folder / "stop").touch()
    assert launched.wait() == 0

    end = json.loads((folder / "end.json").read_text())
    assert end["how"] == "interrupted"
    assert end["reason"] == "the job was cancelled"
    outcomes = {unit: one["outcome"] for unit, one in results_of(folder).items()}
    assert outcomes == {**dict.fromkeys(range(4), "succeeded"), 4: "interrupted", 5: "interrupted"}


def test_a_damaged_units_file_ends_the_batch_with_the_line_in_words(workshop: Workshop) -> None:
    folder = workshop.batch(["true"], [{}] * 3)
    with (folder / "units.jsonl").open("a") as units:
        units.write('{"unit": 3,\n')
    assert workshop.launch(folder).wait() == 0

    assert "units.jsonl line 4" in json.loads((folder / "end.json").read_text())["reason"]
    assert len(results_of(folder)) == 3


def test_a_batch_of_another_format_is_refused_and_not_claimed(workshop: Workshop) -> None:
    folder = workshop.batch(["true"], [{}], format=7)

    assert workshop.launch(folder).wait() == 78
    assert "format 7" in (folder / "runner.log").read_text()
    assert not (folder / "claim").exists()


def test_a_hang_up_is_ignored(workshop: Workshop) -> None:
    folder = workshop.batch(["sh", "-c", "until [ -e go ]; do sleep 0.02; done"], [{}])
    launched = workshop.launch(folder)
    claim = until(lambda: (folder / "claim").exists() and json.loads((folder / "claim").read_text()))
    for pid in (launched.process.pid, claim["pid"]):
        os.kill(pid, signal.SIGHUP)
    (workshop.jobs[0].path / "work" / "go").touch()
    assert launched.wait() == 0
    assert results_of(folder)[0]["outcome"] == "succeeded"
