"""Units that go wrong: each has its own reason in words, and its neighbours never notice."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.workshop import Workshop, processes_marked, results_of, until


def reason_of(
    workshop: Workshop, command: list[str], args: dict[str, Any] | None = None, **more: Any
) -> tuple[str, str]:
    """Run three units, the middle one with `args` and the others with {}; return the middle one's reason."""
    results = workshop.run(command, [args or {}], **more)
    reason = results[0]["reason"]
    assert results[0]["outcome"] == "failed"
    return reason["code"], reason["text"]


def test_a_command_that_is_not_there(workshop: Workshop) -> None:
    code, text = reason_of(workshop, ["no-such-command-here"])
    assert code == "command_not_found"
    assert text == "command not found: no-such-command-here"


def test_a_path_that_is_not_there(workshop: Workshop) -> None:
    assert reason_of(workshop, ["/no/such/command"])[0] == "command_not_found"


def test_a_script_whose_interpreter_is_not_there(workshop: Workshop, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    code, text = reason_of(workshop, [str(script)])
    assert code == "command_not_found"
    assert "interpreter" in text


def test_a_file_that_may_not_be_executed(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("true\n")
    code, text = reason_of(workshop, [str(tmp_path / "plain")])
    assert code == "command_not_executable"
    assert str(tmp_path / "plain") in text


def test_a_file_that_is_no_program(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("true\n")
    (tmp_path / "plain").chmod(0o755)
    assert reason_of(workshop, [str(tmp_path / "plain")])[0] == "command_not_executable"


def test_exit_code_3(workshop: Workshop) -> None:
    assert reason_of(workshop, ["sh", "-c", "exit 3"]) == ("exit_code", "the command ended with exit code 3")
    assert results_of(workshop.folder)[0]["exit_code"] == 3


def test_the_reason_carries_the_last_lines_of_the_units_own_log(workshop: Workshop) -> None:
    script = 'i=0; while [ $i -lt 9 ]; do i=$((i+1)); echo "{args.name} $i"; done; exit 3'
    workshop.run(["sh", "-c", script], [{"name": "one"}, {"name": "two"}], parallel=1)
    tails = [results_of(workshop.folder)[unit]["reason"]["log_tail"] for unit in (0, 1)]
    assert tails == ["\n".join(f"{name} {i}" for i in range(5, 10)) for name in ("one", "two")]


def test_killed_by_a_signal(workshop: Workshop) -> None:
    code, text = reason_of(workshop, ["sh", "-c", "kill -SEGV $$"])
    assert code == "signal"
    assert "SIGSEGV" in text
    assert results_of(workshop.folder)[0]["signal"] == 11


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "not valid JSON"),
        ("", "empty"),
        ("NaN", "NaN is not JSON"),
        ("[1e999]", "not valid JSON"),
        ('"\\ud800"', "not valid JSON"),
        ("[" * 5000 + "]" * 5000, "levels deep"),
    ],
)
def test_an_out_file_that_is_not_json(workshop: Workshop, content: str, words: str) -> None:
    code, text = reason_of(workshop, ["cp", "content", "{out_json}"], work=_work_with(workshop, content))
    assert code == "invalid_output"
    assert words in text


def _work_with(workshop: Workshop, content: str) -> str:
    folder = workshop.path / "prepared"
    folder.mkdir()
    (folder / "content").write_text(content)
    return str(folder)


def test_an_out_file_that_is_a_link_or_a_pipe(workshop: Workshop) -> None:
    assert reason_of(workshop, ["ln", "-s", "/etc/passwd", "{out_json}"])[0] == "invalid_output"
    assert reason_of(workshop, ["mkfifo", "{out_json}"])[0] == "invalid_output"


def test_an_out_file_over_the_limit(workshop: Workshop) -> None:
    code, text = reason_of(
        workshop, ["sh", "-c", "head -c 20000 /dev/zero | tr '\\0' 1 > '{out_json}'"], output_limit_bytes=10_000
    )
    assert code == "output_too_large"
    assert "20,000" in text
    assert "10,000" in text


def test_a_large_output_with_many_brackets_is_taken(workshop: Workshop) -> None:
    content = json.dumps([{"a": ["[" * 50, {"b": []}]}] * 5000)
    results = workshop.run(["cp", "content", "{out_json}"], [{}], work=_work_with(workshop, content))
    assert results[0]["output"] == json.loads(content)


def test_a_child_left_in_the_background_is_ended_and_noted(workshop: Workshop) -> None:
    results = workshop.run(["sh", "-c", "sleep 1000 & exit 0"], [{}] * 3)
    for one in results.values():
        assert one["outcome"] == "succeeded"
        assert one["reason"]["code"] == "stray_processes_ended"
    assert not processes_marked(workshop.jobs[0].marks[0])


def test_a_daemon_of_a_running_unit_outlives_its_neighbours_and_not_its_unit(workshop: Workshop) -> None:
    script = """
if [ {unit} = 0 ]; then
    setsid setsid sh -c 'echo $$ > daemon; exec env -i sleep 1000' &
    until [ -e release ]; do sleep 0.02; done
fi
"""
    folder = workshop.batch(["sh", "-c", script], [{}] * 30)
    launched = workshop.launch(folder)
    until(lambda: len(results_of(folder)) == 29)
    work = workshop.jobs[0].path / "work"
    daemon = int((work / "daemon").read_text())
    assert Path(f"/proc/{daemon}").exists()
    (work / "release").touch()
    assert launched.wait() == 0
    assert not Path(f"/proc/{daemon}").exists()
    assert results_of(folder)[0]["reason"]["code"] == "stray_processes_ended"
    assert all(one["reason"] is None for unit, one in results_of(folder).items() if unit)


def test_what_a_unit_leaves_for_a_moment_is_not_noted(workshop: Workshop) -> None:
    results = workshop.run(["sh", "-c", "sleep 0.1 & exit 0"], [{}])
    assert results[0]["reason"] is None


def test_arguments_of_a_megabyte_travel_in_a_file(workshop: Workshop) -> None:
    script = "import json,sys; print(len(json.load(open(sys.argv[1]))['x']))"
    workshop.run(["python3", "-I", "-S", "-c", script, "{args_json}"], [{"x": "y" * 1_000_000}])
    assert (workshop.folder / "logs" / "slot-0.log").read_text() == "1000000\n"


def test_arguments_of_a_megabyte_as_a_program_argument_are_refused_in_words(workshop: Workshop) -> None:
    code, text = reason_of(workshop, ["echo", "{args.x}"], {"x": "y" * 1_000_000})
    assert code == "start_failed"
    assert text.startswith("argument list too long")


def test_an_argument_that_is_missing_is_named(workshop: Workshop) -> None:
    code, text = reason_of(workshop, ["echo", "{args.path}"], {"other": 1})
    assert code == "start_failed"
    assert "'path'" in text


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_an_argument_that_no_program_can_be_given(workshop: Workshop, value: str) -> None:
    assert reason_of(workshop, ["echo", "{args.x}"], {"x": value})[0] == "start_failed"


def test_names_that_a_shell_would_misread_reach_the_command_as_they_are(workshop: Workshop) -> None:
    name = "a b'c\"d\n$(touch hacked)`touch hacked`;é*"
    workshop.run(["touch", "{args.name}"], [{"name": name}])
    work = workshop.jobs[0].path / "work"
    assert [entry.name for entry in work.iterdir()] == [name]


def test_a_log_that_is_not_utf8_is_kept_as_it_is(workshop: Workshop) -> None:
    results = workshop.run(["printf", "\\377\\376\\000x"], [{}])
    assert (workshop.folder / "logs" / "slot-0.log").read_bytes() == b"\xff\xfe\0x"
    assert results[0]["log"] == [0, 4]


def test_a_unit_over_its_time_is_ended_with_all_its_processes(workshop: Workshop) -> None:
    script = "trap '' TERM; setsid sleep 1000 & sleep 1000"
    results = workshop.run(["sh", "-c", script], [{}], unit_time_seconds=0.3)
    assert results[0]["outcome"] == "failed"
    assert results[0]["reason"] == {
        "code": "time_limit",
        "text": "the unit was ended after its time limit of 0.3 seconds",
    }
    assert not processes_marked(workshop.jobs[0].marks[0])


def test_bad_units_do_not_harm_their_neighbours(workshop: Workshop) -> None:
    scripts = ["exit 3", "kill -KILL $$", "echo x > '{out_json}'", "sleep 100 &", "echo '[1]' > '{out_json}'"]
    results = workshop.run(
        ["sh", "-c", 'eval "$1"', "sh", "{args.do}", "{out_json}"],
        [{"do": script.replace("'{out_json}'", '"$2"')} for script in scripts * 4],
    )
    codes = [(results[i]["reason"] or {}).get("code") for i in range(20)]
    assert codes == ["exit_code", "signal", "invalid_output", "stray_processes_ended", None] * 4
    assert all(results[i]["output"] == [1] for i in range(4, 20, 5))


def test_a_unit_that_truncates_its_log_is_still_reported(workshop: Workshop) -> None:
    results = workshop.run(["sh", "-c", "echo {unit}; : > /proc/self/fd/1"], [{}] * 3, parallel=1)
    assert all(one["log"][0] <= one["log"][1] for one in results.values())
    assert time.time() >= results[2]["end"]
    assert (workshop.folder / "logs" / "slot-0.log").stat().st_size == 0
