"""Answers as Debian's SLURM 22.05 gave them, with the nonce of the query put in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.slurm.answers.accounting import read_accounting, sacct_arguments
from shared.slurm.answers.cluster import ClusterConfig, read_cluster_config, read_partitions
from shared.slurm.answers.native_ids import read_job_id
from shared.slurm.answers.queue import read_queue, squeue_arguments
from shared.slurm.answers.rows import separator, split_rows

NONCE = "0123456789abcdef0123456789abcdef"
QUEUED = "1_[2-3%2]|0|root|PENDING|1795478508|N/A|N/A|10:00|gpu||1|100M|gres:gpu:v100:1|lab|Priority|mark-1|mark-1|1"
RUNNING = "1_0|0|root|RUNNING|1795478508|1795478509|1795479108|UNLIMITED|gpu|n2|4|100M|N/A|lab|None|mark-1|mark-1|2"
ENDED = "1_0|0|root|FAILED|3:0|1795478508|1795478508|1795478511|10|n2|1||00:00.005|gpu|lab|mark-1|mark-1|2"
ENDED_STEP = "1_0.batch|||FAILED|3:0|1795478508|1795478508|1795478511||n2|1|3100K|00:00.005||lab|batch||2.batch"


def answer(*rows: str) -> str:
    return "".join(f"{row.replace('|', separator(NONCE))}\n" for row in rows)


def test_the_queue_is_read() -> None:
    queue = read_queue(answer(QUEUED, RUNNING), NONCE)
    waiting, running = queue.rows
    assert queue.whole
    assert list(waiting.id.native_ids()) == ["1_2", "1_3"]
    assert (waiting.state.kind, waiting.reason, waiting.start, waiting.limit_seconds) == (
        "pending",
        "Priority",
        None,
        600,
    )
    assert (running.id.native_id, running.uid, running.nodes, running.cpus) == ("1_0", 0, "n2", 4)
    assert queue.of("1_3") == [waiting]
    assert queue.of("1_0") == [running]
    assert queue.of("1_4") == []
    assert queue.of("local-1") == []


def test_an_array_that_was_cancelled_as_a_whole_is_shown_without_its_tasks_and_found_all_the_same() -> None:
    queue = read_queue(answer(QUEUED.replace("1_[2-3%2]", "1").replace("PENDING", "CANCELLED")), NONCE)
    assert [row.state.word for row in queue.of("1_2")] == ["CANCELLED"]


def test_the_accounting_is_read_with_what_the_steps_used() -> None:
    accounting = read_accounting(answer(ENDED, ENDED_STEP), NONCE)
    (run,) = accounting.of("1_0")
    assert (run.exit_code, run.exit_signal, run.limit_seconds) == (3, 0, 600)
    assert (run.peak_memory_bytes, run.cpu_seconds, run.nodes) == (3174400, 0.005, "n2")


def test_a_step_that_ran_out_of_memory_says_more_than_failed() -> None:
    step = ENDED_STEP.replace("FAILED", "OUT_OF_MEMORY")
    (run,) = read_accounting(answer(ENDED, step), NONCE).rows
    assert run.state.word == "OUT_OF_MEMORY"


def test_every_run_of_a_requeued_job_is_kept_the_latest_last() -> None:
    again = ENDED.replace("FAILED", "RUNNING").replace("1795478508", "1795478600")
    runs = read_accounting(answer(again, ENDED), NONCE).of("1_0")
    assert [run.state.word for run in runs] == ["FAILED", "RUNNING"]


FORGED = "evil\n" + RUNNING.replace("1_0", "1_7")


@pytest.mark.parametrize("name", [FORGED, "\x1f", "a\nb\n", f"\x1f{'0' * 32}\x1f", "", "  ", "'\"\\"])
def test_no_job_name_or_comment_can_forge_or_hide_a_row(name: str) -> None:
    forged = QUEUED.replace("|", separator(NONCE)).replace("mark-1", name)
    queue = read_queue(answer(RUNNING) + forged + "\n" + answer(RUNNING.replace("1_0", "1_1")), NONCE)
    assert [row.id.native_id for row in queue.rows] == ["1_0", None, "1_1"]
    assert queue.rows[1].name == name
    assert queue.broken == 0
    step = ENDED.replace("|", separator(NONCE)).replace("mark-1", name)
    accounting = read_accounting(answer(ENDED) + step + "\n" + answer(ENDED), NONCE)
    assert len(accounting.rows) == 3
    assert accounting.broken == 0


def test_lines_that_belong_to_no_row_are_counted_and_change_nothing() -> None:
    queue = read_queue(
        f"Welcome to the cluster!\n\n{answer(QUEUED)}maintenance on Friday\n{answer(RUNNING)}bye\n", NONCE
    )
    assert len(queue.rows) == 2
    assert (queue.noise, queue.broken) == (3, 0)


def test_an_answer_that_was_cut_proves_no_absence() -> None:
    text = answer(QUEUED, RUNNING)
    queue = read_queue(text[: len(text) - 60], NONCE)
    assert not queue.whole
    assert queue.rows[0].name == "mark-1"


def test_a_list_of_tasks_that_slurm_cut_proves_no_absence() -> None:
    queue = read_queue(answer(QUEUED.replace("2-3%2", "0,2,4,6...")), NONCE)
    assert not queue.whole
    assert queue.of("1_4")


@given(st.text())
def test_no_answer_makes_a_reader_raise(text: str) -> None:
    for parts in (text, text.replace("a", separator(NONCE)), answer(QUEUED) + text + answer(RUNNING)):
        queue = read_queue(parts, NONCE)
        accounting = read_accounting(parts, NONCE)
        assert queue.broken >= 0
        assert accounting.noise >= 0
    read_cluster_config(text)
    read_partitions(text)


fields = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]).filter(lambda c: c != "\x1f"))


@given(st.lists(st.tuples(*[st.from_regex(r"\d+", fullmatch=True)], fields, st.text(), fields, st.just("end"))))
def test_rows_come_back_as_they_went_in(rows: list[tuple[str, ...]]) -> None:
    text = "".join(separator(NONCE).join(row) + "\n" for row in rows)
    found = split_rows(text, NONCE, 5)
    if not any(separator(NONCE) in field for row in rows for field in row):
        assert [tuple(row) for row in found.rows] == rows
        assert (found.broken, found.noise) == (0, 0)


@pytest.mark.parametrize(
    ("text", "native_ids", "step"),
    [
        ("4711", ["4711"], ""),
        ("4711_3", ["4711_3"], ""),
        ("4711_[3-7%2]", [f"4711_{task}" for task in range(3, 8)], ""),
        ("4711_[1,3,5-9:2%4]", ["4711_1", "4711_3", "4711_5", "4711_7", "4711_9"], ""),
        ("4711_3.batch", ["4711_3"], "batch"),
        ("4711.0", ["4711"], "0"),
        ("4711+1", ["4711"], ""),
    ],
)
def test_ids_are_expanded(text: str, native_ids: list[str], step: str) -> None:
    job_id = read_job_id(text)
    assert list(job_id.native_ids()) == native_ids
    assert job_id.step == step
    assert all(job_id.covers(native_id) for native_id in native_ids)
    assert not job_id.covers("4711_99")
    assert not job_id.covers("471_3")


@pytest.mark.parametrize(
    "text", ["", "x", "4711_", "4711_[", "4711_[a]", "4711_[1-2:0]", "4711_[1%x]", "-1", "4711 _3"]
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert read_job_id(text) is None


def test_a_huge_range_costs_nothing() -> None:
    job_id = read_job_id("1_[0-999999999]")
    assert job_id.covers("1_123456789")
    assert next(job_id.native_ids()) == "1_0"


@pytest.mark.parametrize("nonce", ["", "x" * 32, "ABCDEF0123456789", "1234"])
def test_a_nonce_that_could_be_guessed_or_break_the_format_is_a_mistake(nonce: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        squeue_arguments(nonce)


def test_the_accounting_is_asked_for_every_run_of_every_user_since_a_moment() -> None:
    arguments = sacct_arguments(NONCE, since=1795478508.9, names=["a", "b"], job_ids=[7])
    assert {"--allusers", "--duplicates", "--starttime=2026-11-24T00:01:48", "--name=a,b", "--jobs=7"} < set(
        arguments
    )


CONFIG = """Configuration data as of 2026-11-24T00:01:57
AccountingStorageEnforce = associations,limits
AccountingStorageType   = accounting_storage/slurmdbd
AccountingStoreFlags    = job_comment
ClusterName             = st
GresTypes               = gpu
KillWait                = 5 sec
MaxArraySize            = 1001
MaxJobCount             = 10000
MinJobAge               = 2 sec
PowerPlugin             =
PrivateData             = jobs,usage
SlurmctldHost[0]        = vm
SLURM_VERSION           = 22.05.8
"""


def test_the_settings_that_matter_are_read() -> None:
    config = read_cluster_config(CONFIG)
    assert config.version == (22, 5)
    assert (config.min_job_age_seconds, config.kill_wait_seconds, config.max_array_size) == (2, 5, 1001)
    assert config.accounting
    assert config.stores_comments
    assert config.enforces_associations
    assert config.private_data == {"jobs", "usage"}
    assert config.gres_types == {"gpu"}


def test_settings_that_are_not_told_keep_slurms_defaults() -> None:
    assert read_cluster_config("MaxArraySize = lots\n") == ClusterConfig()


def test_partitions_are_read() -> None:
    text = (
        "PartitionName=main AllowGroups=ALL Default=YES DefaultTime=NONE MaxTime=2-00:00:00 State=UP\n"
        "PartitionName=gpu Default=NO DefaultTime=01:00:00 MaxTime=UNLIMITED State=DOWN TRES=cpu=8,mem=10000M\n\n"
    )
    main, gpu = read_partitions(text)
    assert (main.name, main.default, main.up, main.max_time_seconds, main.default_time_seconds) == (
        "main",
        True,
        True,
        172800,
        None,
    )
    assert (gpu.name, gpu.default, gpu.up, gpu.max_time_seconds, gpu.default_time_seconds) == (
        "gpu",
        False,
        False,
        float("inf"),
        3600,
    )
