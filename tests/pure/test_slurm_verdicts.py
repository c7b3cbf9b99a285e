"""The table of verdicts, row by row, and what must not change anything."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.kinds.slurm.evidence import EndSeen, KnownLaunch, SlurmEvidence
from services.executor.kinds.slurm.verdicts import End, GoOn, Graces, judge_slurm
from shared.pipes.protocol.answers import Claim, Evidence
from shared.pipes.protocol.answers import End as EndRecord
from shared.slurm.answers.accounting import Accounting, AccountingRow
from shared.slurm.answers.native_ids import read_job_id
from shared.slurm.answers.queue import Queue, QueueRow
from shared.slurm.answers.states import read_state

NOW = 1_000_000.0
GRACES = Graces()
MARKER = "stoker-01kbatch"
RUNNER = Claim(kind="runner", native_id="7_0", at=NOW - 100)
REVOKED = Claim(kind="revoked")
MEMORY_WORDS = "slurmstepd-n1: error: StepId=12.batch exceeded memory limit (208359424 > 52428800), being killed"


def in_queue(state: str, native_id: str = "7_0", **fields: Any) -> QueueRow:
    row = {
        "id": read_job_id(native_id),
        "uid": 1001,
        "user": "ada",
        "state": read_state(state),
        "submit": NOW - 200,
        "start": NOW - 150,
        "end": None,
        "limit_seconds": 3600.0,
        "partition": "main",
        "nodes": "n1",
        "cpus": 1,
        "memory": "100M",
        "gres": "",
        "account": "",
        "reason": "None",
        "name": MARKER,
        "comment": MARKER,
    }
    return QueueRow(**(row | fields))


def in_accounts(state: str, native_id: str = "7_0", **fields: Any) -> AccountingRow:
    row = {
        "id": read_job_id(native_id),
        "uid": 1001,
        "user": "ada",
        "state": read_state(state),
        "exit_code": 0,
        "exit_signal": 0,
        "submit": NOW - 200,
        "start": NOW - 150,
        "end": NOW - 10,
        "limit_seconds": 3600.0,
        "nodes": "n1",
        "cpus": 1,
        "partition": "main",
        "account": "",
        "name": MARKER,
        "comment": "",
    }
    return AccountingRow(**(row | fields))


def ended(
    how: Literal["complete", "interrupted"], native_id: str = "7_0", reason: str = "", at: float = NOW - 5
) -> EndRecord:
    return EndRecord(how=how, at=at, native_id=native_id, results=3, reason=reason)


def files(claim: Claim | None = RUNNER, end: EndRecord | None = None, tail: str = "") -> Evidence:
    return Evidence(exists=True, claim=claim, end=end, ended=end is not None, runner_log_tail=tail)


def judge(
    seen: Evidence | None = None,
    queue: Iterable[QueueRow] | None = (),
    accounts: Iterable[AccountingRow] = (),
    **more: Any,
) -> GoOn | End:
    values = {
        "now": NOW,
        "uid": 1001,
        "markers": frozenset({MARKER}),
        "launches": [KnownLaunch("7_0", NOW - 201)],
        "files": files() if seen is None else seen,
        "queue": None if queue is None else Queue(list(queue)),
        "accounting": Accounting(list(accounts)),
        "accounting_kept": True,
    }
    return judge_slurm(SlurmEvidence(**(values | more)), GRACES)


def long_ago(word: str, native_id: str = "7_0") -> EndSeen:
    return EndSeen(native_id=native_id, since=NOW - 91, word=word, limit_seconds=3600.0, nodes="n1")


def code(verdict: GoOn | End) -> str:
    assert isinstance(verdict, End), verdict
    return verdict.ending.batch_reason.code


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING", "COMPLETED", "FAILED", "CANCELLED"])
def test_an_end_record_that_says_complete_ends_the_batch_at_once(state: str) -> None:
    verdict = judge(files(end=ended("complete")), [in_queue(state)])
    assert isinstance(verdict, End)
    assert (verdict.ending.batch_state, verdict.ending.batch_reason) == ("ended", None)
    assert verdict.ending.started[0] == "lost"


def test_an_end_record_that_says_complete_needs_no_scheduler() -> None:
    assert isinstance(judge(files(end=ended("complete")), queue=None, accounting=None), End)


TERMINAL = [
    ("TIMEOUT", "time_limit", "failed"),
    ("DEADLINE", "time_limit", "failed"),
    ("OUT_OF_MEMORY", "out_of_memory", "failed"),
    ("NODE_FAIL", "node_failure", "lost"),
    ("BOOT_FAIL", "node_failure", "lost"),
    ("PREEMPTED", "preempted", "failed"),
    ("CANCELLED", "cancelled", "cancelled"),
    ("REVOKED", "scheduler_failed", "failed"),
    ("SPECIAL_EXIT", "scheduler_failed", "failed"),
]
REST = [("FAILED", "runner_died", "lost"), ("COMPLETED", "runner_died", "lost")]


@pytest.mark.parametrize(("state", "reason", "outcome"), [*TERMINAL, *REST])
def test_a_terminal_state_without_an_end_record_is_believed_after_the_grace_for_files(
    state: str, reason: str, outcome: str
) -> None:
    row = in_queue(state)
    first = judge(queue=[row], accounts=[in_accounts(state)])
    assert isinstance(first, GoOn)
    assert first.end_seen.word == state
    assert isinstance(judge(queue=[row], end_seen=first.end_seen, now=NOW + 89), GoOn)
    last = judge(queue=[row], accounts=[in_accounts(state)], end_seen=first.end_seen, now=NOW + 90)
    assert code(last) == reason
    assert last.ending.started[0] == outcome
    # What has not begun is launched again, unless somebody wanted the end.
    assert (last.ending.again, last.ending.waiting[0]) == (
        (False, outcome) if state == "CANCELLED" else (True, "failed")
    )


@pytest.mark.parametrize(("state", "reason", "outcome"), TERMINAL)
def test_the_reason_of_an_interruption_comes_from_the_scheduler(state: str, reason: str, outcome: str) -> None:
    seen = files(end=ended("interrupted", reason="the runner was told to stop by signal 15 (SIGTERM)"))
    verdict = judge(seen, [in_queue(state)], [in_accounts(state)])
    assert code(verdict) == reason
    assert verdict.ending.started[0] == outcome


@pytest.mark.parametrize(("state", "reason", "outcome"), TERMINAL)
def test_the_accounting_does_where_the_queue_has_forgotten(state: str, reason: str, outcome: str) -> None:
    verdict = judge(queue=[], accounts=[in_accounts(state)], end_seen=long_ago(state))
    assert (code(verdict), verdict.ending.started[0]) == (reason, outcome)


@pytest.mark.parametrize(
    "state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "STAGE_OUT", "STOPPED"]
)
def test_what_slurm_shows_as_not_terminal_is_not_over_whatever_the_files_say(state: str) -> None:
    for seen in (files(), files(end=ended("interrupted"))):
        verdict = judge(seen, [in_queue(state)], end_seen=long_ago("FAILED"), absent_since=NOW - 10_000)
        assert isinstance(verdict, GoOn)
        assert (verdict.state, verdict.end_seen, verdict.absent_since) == ("running", None, None)


def test_a_requeued_job_is_not_over_though_the_accounting_shows_its_first_run_as_ended() -> None:
    verdict = judge(
        files(end=ended("interrupted")),
        [in_queue("PENDING", submit=NOW - 20, reason="BeginTime")],
        [in_accounts("PREEMPTED")],
        end_seen=long_ago("PREEMPTED"),
    )
    assert isinstance(verdict, GoOn)
    assert "BeginTime" in verdict.note


def test_a_job_that_waits_says_why_and_when_it_may_start() -> None:
    verdict = judge(files(claim=None), [in_queue("PENDING", reason="Priority", start=NOW + 60)])
    assert isinstance(verdict, GoOn)
    assert (verdict.state, verdict.estimated_start) == ("queued", NOW + 60)
    assert "higher priority" in verdict.note


def test_a_launch_that_is_absent_everywhere_is_unknown_and_then_lost_but_revoked_first() -> None:
    first = judge()
    assert isinstance(first, GoOn)
    assert (first.state, first.absent_since) == (None, NOW)
    later = judge(absent_since=NOW, now=NOW + 899)
    assert isinstance(later, GoOn)
    assert "14 minutes" in later.note
    last = judge(absent_since=NOW, now=NOW + 900)
    assert code(last) == "vanished"
    assert last.revoke_first
    assert last.ending.started[0] == "lost"


def test_a_launch_that_never_started_and_vanished_is_over_once_its_batch_is_revoked() -> None:
    asked = judge(files(claim=None), absent_since=NOW - 900)
    assert isinstance(asked, End)
    assert asked.revoke_first
    revoked = judge(files(claim=REVOKED), absent_since=NOW - 900)
    assert code(revoked) == "vanished"
    assert not revoked.revoke_first
    # Somebody was first: its runner lives, or will have its say.
    assert isinstance(judge(files(), [in_queue("RUNNING")], absent_since=NOW - 900), GoOn)


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "SUSPENDED", "COMPLETING"])
def test_what_the_accounting_says_has_not_ended_is_not_lost_though_the_queue_does_not_show_it(state: str) -> None:
    for at in (NOW, NOW + 3000):
        verdict = judge(accounts=[in_accounts(state)], absent_since=NOW - 2000, now=at)
        assert isinstance(verdict, GoOn), verdict
        assert f"its accounting says {state}" in verdict.note
    cancelled = judge(accounts=[in_accounts(state)], absent_since=NOW - 2000, cancel_requested=True)
    assert code(cancelled) == "cancelled"


def test_a_record_that_outlives_its_jobs_time_limit_is_believed_no_longer_and_named_in_the_reason() -> None:
    late = NOW - 150 + 3600 + 601
    verdict = judge(accounts=[in_accounts("RUNNING")], absent_since=NOW - 2000, now=late)
    assert code(verdict) == "vanished"
    assert "no trace of it in the queue for" in verdict.ending.batch_reason.text
    assert "the accounting says RUNNING" in verdict.ending.batch_reason.text


def test_a_launch_that_waits_by_its_record_alone_is_fenced_off_and_one_that_was_started_is_left_alone() -> None:
    waits = judge(files(claim=None), accounts=[in_accounts("PENDING", start=None)], absent_since=NOW - 900)
    assert code(waits) == "vanished"
    assert waits.revoke_first
    assert isinstance(judge(files(claim=None), accounts=[in_accounts("RUNNING")], absent_since=NOW - 900), GoOn)


def test_files_that_grow_are_a_trace() -> None:
    verdict = judge(absent_since=NOW - 10_000, grows=True)
    assert isinstance(verdict, GoOn)
    assert verdict.absent_since == NOW


@pytest.mark.parametrize(
    "failed",
    [
        {"queue": None},
        {"queue": None, "accounting": None},
        {"accounting": None},
        {"files": None},
        {"queue_shows_launches": False},
    ],
)
def test_a_call_that_failed_changes_nothing_and_the_graces_begin_anew(failed: dict[str, Any]) -> None:
    for interrupted in (None, ended("interrupted")):
        seen = files(end=interrupted)
        verdict = judge(**({"seen": seen, "absent_since": NOW - 10_000} | failed))
        assert isinstance(verdict, GoOn)
        assert (verdict.state, verdict.absent_since, verdict.end_seen) == (None, None, None)


def test_an_answer_with_rows_that_could_not_be_read_proves_no_absence() -> None:
    values = {"now": NOW, "uid": 1001, "markers": frozenset({MARKER}), "launches": [KnownLaunch("7_0", NOW)]}
    seen = SlurmEvidence(**values, files=files(), queue=Queue([], broken=1), absent_since=NOW - 10_000)
    assert judge_slurm(seen, GRACES) == GoOn(state=None, note="SLURM cannot be asked about it at the moment")


def test_the_accounting_alone_ends_nothing_while_the_controller_is_silent() -> None:
    assert isinstance(judge(queue=None, accounts=[in_accounts("TIMEOUT")], end_seen=long_ago("TIMEOUT")), GoOn)


def test_a_state_word_never_heard_of_is_unknown_and_named_for_the_log() -> None:
    verdict = judge(queue=[in_queue("HIBERNATING")])
    assert isinstance(verdict, GoOn)
    assert (verdict.state, verdict.unknown_word) == (None, "HIBERNATING")
    assert judge(accounts=[in_accounts("HIBERNATING")]).unknown_word == "HIBERNATING"


@pytest.mark.parametrize(
    "stranger",
    [
        {"uid": 1002},
        {"name": "other", "comment": "other"},
        {"submit": NOW - 100_000},
    ],
)
def test_another_job_that_had_the_same_id_says_nothing(stranger: dict[str, Any]) -> None:
    for state in ("FAILED", "RUNNING"):
        verdict = judge(queue=[in_queue(state, **stranger)], accounts=[in_accounts(state, **stranger)])
        assert isinstance(verdict, GoOn)
        assert verdict.absent_since == NOW


def test_a_comment_that_a_site_replaced_does_not_hide_a_job() -> None:
    assert judge(queue=[in_queue("RUNNING", comment="checked by the site")]).state == "running"


def test_only_the_launch_that_holds_the_claim_has_a_say() -> None:
    launches = [KnownLaunch("7_0", NOW - 201), KnownLaunch("8_0", NOW - 190)]
    loser = in_queue("FAILED", "8_0")
    verdict = judge(queue=[in_queue("RUNNING"), loser], launches=launches, end_seen=long_ago("FAILED", "8_0"))
    assert isinstance(verdict, GoOn)
    assert verdict.end_seen is None
    # The loser's own end record, were there one, would not count either.
    assert isinstance(
        judge(files(end=ended("complete", "8_0")), [in_queue("RUNNING"), loser], launches=launches), GoOn
    )
    # And a winner that ended is over although the loser still waits.
    waiting = in_queue("PENDING", "8_0")
    assert (
        code(
            judge(
                queue=[in_queue("TIMEOUT"), waiting],
                launches=launches,
                end_seen=long_ago("TIMEOUT"),
                accounts=[in_accounts("TIMEOUT")],
            )
        )
        == "time_limit"
    )


def test_while_nobody_holds_the_claim_any_launch_may_still_take_it() -> None:
    launches = [KnownLaunch("7_0", NOW - 201), KnownLaunch("8_0", NOW - 190)]
    unclaimed = files(claim=None)
    verdict = judge(unclaimed, [in_queue("FAILED"), in_queue("PENDING", "8_0")], launches=launches)
    assert isinstance(verdict, GoOn)
    assert verdict.state == "queued"
    both = [in_queue("CANCELLED"), in_queue("CANCELLED", "8_0")]
    over = judge(
        unclaimed,
        both,
        launches=launches,
        end_seen=long_ago("CANCELLED", "8_0"),
        accounts=[in_accounts("CANCELLED by 0", "8_0", start=None)],
    )
    assert code(over) == "cancelled"
    assert over.revoke_first
    assert "administrator" in over.ending.batch_reason.text


@pytest.mark.parametrize(
    ("account", "tail", "expected"),
    [
        (in_accounts("CANCELLED by 0"), "", "launch_failed"),
        (in_accounts("CANCELLED by 0"), "slurmd-n1: error: Error running slurm prolog: 1\n", "launch_failed"),
        (in_accounts("CANCELLED by 0", start=None), "", "cancelled"),
        (in_accounts("CANCELLED by 1001"), "", "cancelled"),
        (in_accounts("CANCELLED by 0"), "*** JOB 7 ON n1 CANCELLED AT 2026-11-25T10:40:48 ***", "cancelled"),
    ],
)
def test_a_prolog_that_fails_is_told_from_a_cancellation_and_launched_again(
    account: AccountingRow, tail: str, expected: str
) -> None:
    seen = files(claim=None, tail=tail)
    verdict = judge(seen, [in_queue("CANCELLED")], [account], end_seen=long_ago("CANCELLED"))
    assert code(verdict) == expected
    assert verdict.ending.again is (expected == "launch_failed")
    assert "n1" in verdict.ending.batch_reason.text or expected == "cancelled"


def test_what_slurm_holds_since_its_node_did_not_let_it_start_is_launched_again() -> None:
    held = in_queue("PENDING", reason="launch_failed_requeued_held")
    for seen, revoke_first in ((files(claim=None), True), (files(claim=REVOKED), False)):
        verdict = judge(seen, [held])
        assert (code(verdict), verdict.revoke_first, verdict.ending.again) == ("launch_failed", revoke_first, True)
    other = [in_queue("PENDING", "8_0"), held]
    launches = [KnownLaunch("7_0", NOW - 201), KnownLaunch("8_0", NOW - 190)]
    assert isinstance(judge(files(claim=None), other, launches=launches), GoOn)


def test_a_claim_by_a_launch_whose_record_was_lost_is_followed_all_the_same() -> None:
    verdict = judge(queue=[in_queue("RUNNING")], launches=[])
    assert isinstance(verdict, GoOn)
    assert verdict.state == "running"


def test_a_batch_that_is_still_being_submitted_goes_on() -> None:
    assert judge(files(claim=None), launches=[]).state == "queued"


def test_memory_enforced_without_cgroups_shows_failed_and_signal_9_and_is_recognised() -> None:
    died = {"end_seen": long_ago("FAILED")}
    row = in_queue("FAILED", reason="JobLaunchFailure")
    accounts = [in_accounts("FAILED", exit_signal=9, peak_memory_bytes=208359424)]
    assert code(judge(files(tail=MEMORY_WORDS), [row], **died)) == "out_of_memory"
    assert code(judge(queue=[row], accounts=accounts, memory_mb=50, **died)) == "out_of_memory"
    assert code(judge(queue=[in_queue("FAILED", reason="OutOfMemory")], **died)) == "out_of_memory"
    assert code(judge(queue=[row], accounts=[in_accounts("OUT_OF_MEMORY")], **died)) == "out_of_memory"
    unclear = judge(queue=[row], accounts=accounts, memory_mb=50_000, **died)
    assert code(unclear) == "runner_died"
    assert "signal 9, as happens when memory runs out" in unclear.ending.batch_reason.text


def test_memory_words_in_the_log_of_a_job_that_was_cancelled_prove_nothing() -> None:
    verdict = judge(files(tail=MEMORY_WORDS), [in_queue("CANCELLED")], end_seen=long_ago("CANCELLED"))
    assert code(verdict) == "cancelled"


def test_who_cancelled_is_told_and_waited_for() -> None:
    seen = files(end=ended("interrupted"))
    waiting = judge(seen, [in_queue("CANCELLED")], [in_accounts("RUNNING")])
    assert isinstance(waiting, GoOn)
    for state, words in (
        ("CANCELLED by 0", "by an administrator (root)"),
        ("CANCELLED by 1001", "by ada with uid 1001"),
        ("CANCELLED by 1234", "by the user with uid 1234"),
    ):
        told = judge(seen, [in_queue("CANCELLED")], [in_accounts(state)])
        assert words in told.ending.batch_reason.text
    untold = judge(seen, [in_queue("CANCELLED")], end_seen=long_ago("CANCELLED"))
    assert code(untold) == "cancelled"
    assert code(judge(seen, [in_queue("CANCELLED")], accounting_kept=False, accounting=None)) == "cancelled"


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("DUE TO PREEMPTION ", "preempted"),
        ("DUE TO TIME LIMIT ", "time_limit"),
        ("DUE TO NODE FAILURE ", "node_failure"),
        ("", "cancelled"),
    ],
)
@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_a_runner_that_ended_faster_than_slurm_is_explained_by_what_slurmstepd_wrote(
    state: str, why: str, expected: str
) -> None:
    tail = f"slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-25T10:40:48 {why}***\n"
    end = ended("interrupted", reason="the runner was told to stop by signal 15 (SIGTERM)", at=NOW - 149)
    seen = files(end=end, tail=tail)
    verdict = judge(seen, [in_queue(state)], [in_accounts(state)])
    assert code(verdict) == expected


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_a_runner_that_was_warned_of_the_time_limit_reached_it(state: str) -> None:
    warned = files(end=ended("interrupted", reason="the runner was told to stop by signal 10 (SIGUSR1)"))
    assert code(judge(warned, [in_queue(state)], [in_accounts(state)])) == "time_limit"
    late = files(end=ended("interrupted", at=NOW - 150 + 3600 - 60))
    assert code(judge(late, [in_queue(state)], [in_accounts(state)])) == "time_limit"
    early = files(end=ended("interrupted", reason="the runner was told to stop by signal 15 (SIGTERM)"))
    other = judge(early, [in_queue(state)], [in_accounts(state)])
    assert code(other) == "interrupted"
    assert "SIGTERM" in other.ending.batch_reason.text


def test_a_script_that_ended_before_the_runner_failed_to_launch_and_its_last_words_are_kept() -> None:
    row, account = in_queue("FAILED"), in_accounts("FAILED", exit_code=127)
    verdict = judge(files(claim=None, tail="module: not found"), [row], [account], end_seen=long_ago("FAILED"))
    assert code(verdict) == "launch_failed"
    assert "exit code 127" in verdict.ending.batch_reason.text
    assert verdict.ending.batch_reason.log_tail == "module: not found"
    assert verdict.ending.waiting[0] == "failed"
    assert verdict.revoke_first


def test_an_end_that_slurm_forgot_before_the_next_look_is_remembered() -> None:
    first = judge(queue=[in_queue("TIMEOUT", end=NOW)], accounting=None, accounting_kept=False)
    assert isinstance(first, GoOn)
    kept = msgspec.json.decode(msgspec.json.encode(first.end_seen), type=EndSeen)
    later = judge(accounting=None, accounting_kept=False, end_seen=kept, now=NOW + 90)
    assert code(later) == "time_limit"
    assert "60 minutes" in later.ending.batch_reason.text


def test_an_interruption_without_any_trace_ends_after_the_grace_for_files() -> None:
    seen = files(end=ended("interrupted"))
    assert isinstance(judge(seen), GoOn)
    assert code(judge(seen, absent_since=NOW - 90)) == "interrupted"


def test_what_was_to_be_cancelled_is_cancelled_whatever_slurm_calls_it() -> None:
    cancelled = {"cancel_requested": True}
    for verdict in (
        judge(files(end=ended("interrupted")), queue=None, accounting=None, **cancelled),
        judge(files(claim=REVOKED), **cancelled),
        judge(
            queue=[in_queue("TIMEOUT")], accounts=[in_accounts("TIMEOUT")], end_seen=long_ago("TIMEOUT"), **cancelled
        ),
        judge(absent_since=NOW - 900, **cancelled),
    ):
        assert code(verdict) == "cancelled"
        assert verdict.ending.started[0] == verdict.ending.waiting[0] == "cancelled"
    assert isinstance(judge(queue=[in_queue("RUNNING")], **cancelled), GoOn)


def test_a_batch_that_was_given_up_for_no_reason_of_slurms_is_revoked() -> None:
    verdict = judge(files(claim=REVOKED))
    assert verdict.ending.batch_state == "revoked"


states = st.sampled_from(
    [
        "PENDING",
        "RUNNING",
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "NODE_FAIL",
        "PREEMPTED",
        "TIMEOUT",
        "OUT_OF_MEMORY",
        "ODD",
    ]
)
rows = st.lists(st.builds(in_queue, states, st.sampled_from(["7_0", "8_0", "7_[0-3]", "7"])), max_size=3)
records = st.lists(st.builds(in_accounts, states, st.sampled_from(["7_0", "8_0", "7"])), max_size=3)
ends = st.none() | st.builds(ended, st.sampled_from(["complete", "interrupted"]), st.sampled_from(["7_0", "8_0"]))
evidence = st.builds(
    SlurmEvidence,
    now=st.just(NOW),
    uid=st.just(1001),
    markers=st.just(frozenset({MARKER})),
    launches=st.lists(st.sampled_from([KnownLaunch("7_0", NOW - 201), KnownLaunch("8_0", NOW - 190)]), unique=True),
    files=st.none()
    | st.builds(files, st.sampled_from([None, RUNNER, REVOKED]), ends, st.sampled_from(["", MEMORY_WORDS])),
    queue=st.none() | st.builds(Queue, rows, st.integers(0, 1)),
    accounting=st.none() | st.builds(Accounting, records),
    accounting_kept=st.booleans(),
    queue_shows_launches=st.booleans(),
    cancel_requested=st.booleans(),
    end_seen=st.none() | st.builds(long_ago, states),
    absent_since=st.none() | st.just(NOW - 2000),
)


@given(evidence)
def test_nothing_is_over_without_evidence_that_was_really_seen(seen: SlurmEvidence) -> None:
    verdict = judge_slurm(seen, GRACES)
    if isinstance(verdict, GoOn):
        return
    assert seen.files is not None
    by_files = seen.files.end is not None or (seen.files.claim is not None and seen.files.claim.kind == "revoked")
    assert by_files or seen.queue is not None


@given(evidence)
def test_no_launch_that_holds_the_claim_and_is_shown_as_running_is_ever_over_unless_it_says_so(
    seen: SlurmEvidence,
) -> None:
    running = msgspec.structs.replace(
        seen,
        files=files(end=None if seen.files is None or seen.files.end is None else ended("interrupted")),
        queue=Queue([in_queue("RUNNING"), *(seen.queue.rows if seen.queue else [])]),
        cancel_requested=False,
    )
    assert isinstance(judge_slurm(running, GRACES), GoOn)
