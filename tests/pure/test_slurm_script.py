import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.slurm.answers.submission import read_submission
from shared.slurm.requests.needs import UnitNeeds
from shared.slurm.requests.script import ArrayPart, batch_script, sbatch_arguments, split_array
from stoker.errors import Invalid

POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
FAILED = "sbatch: error: Batch job submission failed: "
NO_PARTITION = f"sbatch: error: invalid partition specified: nope\n{FAILED}Invalid partition name specified\n"
FOLDER = "/home/ada/stoker/2026-11/01kjob"


def script(needs: UnitNeeds, parallel: int = 1, folder: str = FOLDER, **more: Any) -> str:
    return batch_script(needs, parallel=parallel, python="/opt/python", job_folder=folder, **more)


def options(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


def test_the_script_asks_for_what_the_units_that_run_at_once_need_together() -> None:
    needs = UnitNeeds(cpus=2, memory_mb=3000, gres="gpu:v100:1", gpus_per_unit=1, partition="gpu", account="lab")
    found = options(script(needs, parallel=4))
    assert {"--cpus-per-task=8", "--mem=12000M", "--gres=gpu:v100:4", "--partition=gpu", "--account=lab"} < set(found)
    assert {"--nodes=1", "--ntasks=1", "--no-requeue"} < set(found)


def test_memory_per_cpu_is_the_units_memory_over_its_cpus() -> None:
    found = options(script(UnitNeeds(cpus=3, memory_mb=1000, memory_per_cpu=True), parallel=4))
    assert "--mem-per-cpu=334M" in found
    assert not [option for option in found if option.startswith("--mem=")]


def test_a_unit_with_several_nodes_has_one_task_on_each() -> None:
    found = options(script(UnitNeeds(nodes=3, cpus=2, memory_mb=100)))
    assert {"--nodes=3", "--ntasks=3", "--cpus-per-task=2", "--mem=100M"} < set(found)


def test_the_last_line_becomes_the_runner() -> None:
    assert script(UnitNeeds(), part=ArrayPart(7, (0,))).splitlines()[-1] == (
        f"exec /opt/python -I -S {FOLDER}/runner.py --slurm-base=7 {FOLDER}/batches"
    )


def test_what_people_wrote_reaches_the_shell_after_the_last_place_where_sbatch_looks_for_options() -> None:
    needs = UnitNeeds(
        shebang_line="#!/bin/bash -l",
        options=[("--nice=5",), ("--licenses", "matlab:1")],
        shell_lines=["module load a"],
        worker_init="#SBATCH --partition=other\nexport A=1\n",
    )
    lines = script(needs).splitlines()
    assert lines[0] == "#!/bin/bash -l"
    barrier = lines.index(":")
    assert lines[barrier + 1 : -1] == ["module load a", "#SBATCH --partition=other", "export A=1"]
    assert {"#SBATCH --nice=5", "#SBATCH --licenses matlab:1"} < set(lines[:barrier])


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1))
def test_no_path_is_anything_but_one_word(name: str) -> None:
    folder = f"/jobs/{name}"
    if "\\" in name or '"' in name:
        with pytest.raises(Invalid):
            script(UnitNeeds(), folder=folder)
        return
    last = script(UnitNeeds(), folder=folder).removesuffix("\n").rpartition("\n:\n")[2]
    words = shlex.split(last)
    assert words == ["exec", "/opt/python", "-I", "-S", f"{folder}/runner.py", "--slurm-base=0", f"{folder}/batches"]


@pytest.mark.parametrize("folder", ["relative", "/a\nb", "/a\x7fb"])
def test_a_path_that_is_no_absolute_path_is_refused(folder: str) -> None:
    with pytest.raises(Invalid):
        script(UnitNeeds(), folder=folder)


def test_patterns_of_slurm_in_a_path_mean_nothing() -> None:
    assert '--output="/a b/100%%A"/slurm/%A_%a.log' in options(script(UnitNeeds(), folder="/a b/100%A"))


def test_the_end_is_announced_where_the_limit_leaves_time_for_it() -> None:
    assert "--signal=B:USR1@30" in options(script(UnitNeeds(time_seconds=3600)))
    assert "--time=0-01:00:00" in options(script(UnitNeeds(time_seconds=3600)))
    assert "--time=UNLIMITED" in options(script(UnitNeeds(time_seconds=float("inf"))))
    assert not [o for o in options(script(UnitNeeds(time_seconds=60))) if o.startswith("--signal")]


def test_a_launch_may_be_started_again_only_where_that_was_asked_for() -> None:
    assert "--requeue" in options(script(UnitNeeds(), requeue=True))
    assert "--no-requeue" in options(script(UnitNeeds()))


def test_sbatch_gets_the_array_and_the_marker() -> None:
    (part,) = split_array([0, 1, 2, 5], 1001)
    arguments = sbatch_arguments(part, script="/x/submit.sh", job_folder=FOLDER, marker="stoker-01k", at_once=2)
    assert arguments[0] == "--parsable"
    assert arguments[-1] == "/x/submit.sh"
    marks = {"--array=0-2,5%2", "--job-name=stoker-01k", "--comment=stoker-01k"}
    assert {*marks, f"--chdir={FOLDER}", "--export=ALL"} < set(arguments)


@pytest.mark.parametrize("marker", ["", "-x", "a b", "a\n", "a,b"])
def test_a_marker_is_one_plain_word(marker: str) -> None:
    (part,) = split_array([0], 1001)
    with pytest.raises(ValueError, match="marker"):
        sbatch_arguments(part, script="/x", job_folder="/", marker=marker)


@given(st.sets(st.integers(0, 5000), max_size=300), st.integers(1, 1001))
def test_arrays_hold_every_batch_once_and_no_task_number_above_the_limit(indices: set[int], size: int) -> None:
    parts = split_array(sorted(indices), size)
    assert sorted(part.batch_index(task) for part in parts for task in part.tasks) == sorted(indices)
    for part in parts:
        assert max(part.tasks) < size
        spelled = []
        for piece in part.option.split(","):
            first, _, last = piece.partition("-")
            spelled += range(int(first), int(last or first) + 1)
        assert spelled == list(part.tasks)


def test_ten_thousand_batches_take_ten_arrays() -> None:
    assert [part.option for part in split_array(range(2000), 1001)] == ["0-1000", "0-998"]


def test_a_cluster_without_arrays_gets_a_job_for_each_batch() -> None:
    parts = split_array([3, 5], 0)
    assert [(part.covers(3), part.covers(5), part.size) for part in parts] == [(True, False, 1), (False, True, 1)]
    assert parts[0].native_id(4711, 3) == "4711"
    arguments = sbatch_arguments(parts[0], script="/s.sh", job_folder=FOLDER, marker="m")
    assert not [argument for argument in arguments if argument.startswith("--array")]
    text = script(UnitNeeds(), part=parts[0])
    assert f"--output={FOLDER}/slurm/%j.log" in options(text)
    assert "--slurm-base=3" in text


def test_the_first_batches_of_a_part_are_a_part_and_at_least_one() -> None:
    (part,) = split_array([4, 6, 7], 1001)
    assert part.first(2) == ArrayPart(4, (0, 2))
    assert part.first(0) == ArrayPart(4, (0,))
    assert part.native_id(9, 6) == "9_2"


def test_an_accepted_array_is_read_with_and_without_its_cluster() -> None:
    assert read_submission(0, "4711\n", "").job_id == 4711
    answered = read_submission(0, "Have a nice day\n4711;hpc\n", "")
    assert (answered.outcome, answered.job_id, answered.cluster) == ("accepted", 4711, "hpc")


def test_an_id_counts_whatever_is_said_beside_it() -> None:
    stderr = "sbatch: error: Socket timed out on send/recv operation\n"
    assert read_submission(1, "4711\n", stderr).outcome == "accepted"


@pytest.mark.parametrize(
    "stderr",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Zero Bytes were transmitted or received",
        "sbatch: error: slurm_receive_msg: Connection refused",
        "sbatch: error: Transport endpoint is not connected",
        "sbatch: error: Munge encode failed: Failed to access socket",
    ],
)
def test_no_answer_leaves_doubt(stderr: str) -> None:
    assert read_submission(1, "", stderr).outcome == "doubtful"


@pytest.mark.parametrize(("exit_code", "stdout"), [(None, ""), (-9, ""), (0, ""), (0, "thanks\n")])
def test_an_answer_that_says_nothing_leaves_doubt(exit_code: int | None, stdout: str) -> None:
    assert read_submission(exit_code, stdout, "").outcome == "doubtful"


@pytest.mark.parametrize(
    "stderr",
    [
        f"sbatch: error: AssocMaxSubmitJobLimit\n{FAILED}{POLICY}",
        f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{FAILED}{POLICY}",
        f"sbatch: error: QOSGrpSubmitJobsLimit\n{FAILED}{POLICY}",
        f"{FAILED}{POLICY}",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "sbatch: error: Batch job submission failed: Resource temporarily unavailable",
    ],
)
def test_a_limit_that_is_reached_is_not_a_refusal(stderr: str) -> None:
    assert read_submission(1, "", stderr).outcome == "not_now"


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            NO_PARTITION,
            "invalid partition specified: nope; Batch job submission failed: Invalid partition name specified",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            "Invalid account",
        ),
        (
            f"sbatch: error: AssocMaxWallDurationPerJobLimit\n{FAILED}{POLICY}",
            "AssocMaxWallDurationPerJobLimit",
        ),
        (
            f"sbatch: error: QOSMaxCpuPerUserLimit\n{FAILED}{POLICY}",
            "it asks for more than the QOS allows: CPUs per user (QOSMaxCpuPerUserLimit",
        ),
        (f"sbatch: error: QOSMaxMemoryPerUser\n{FAILED}{POLICY}", "the QOS allows: memory per user"),
        (f"sbatch: error: QOSGrpGRES\n{FAILED}{POLICY}", "the QOS allows: GPUs and other devices"),
        (f"sbatch: error: AssocGrpCpuLimit\n{FAILED}{POLICY}", "the account or user allows: CPUs"),
        (f"sbatch: error: QOSMinCpuNotSatisfied\n{FAILED}{POLICY}", "it asks for less than the QOS allows: CPUs"),
        (
            "sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information\n",
            "unrecognized option",
        ),
        ("", "exit code 1"),
    ],
)
def test_a_refusal_has_slurms_reason(stderr: str, words: str) -> None:
    answered = read_submission(1, "", stderr)
    assert answered.outcome == "refused"
    assert words in answered.text


@given(st.one_of(st.none(), st.integers()), st.text(), st.text())
def test_no_answer_of_sbatch_makes_the_reader_raise(exit_code: int | None, stdout: str, stderr: str) -> None:
    read_submission(exit_code, stdout, stderr)
