import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.slurm.answers.reasons import pending_reason
from shared.slurm.answers.states import read_state

# As SLURM's manual lists them.
TERMINAL = (
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED SPECIAL_EXIT TIMEOUT"
)
NOT_TERMINAL = (
    "PENDING CONFIGURING RUNNING COMPLETING SUSPENDED STAGE_OUT SIGNALING REQUEUED REQUEUE_HOLD REQUEUE_FED RESIZING "
    "RESV_DEL_HOLD STOPPED"
)


@pytest.mark.parametrize("word", TERMINAL.split())
def test_a_terminal_state_is_terminal(word: str) -> None:
    assert read_state(word).kind == "terminal"


@pytest.mark.parametrize("word", NOT_TERMINAL.split())
def test_a_state_that_is_not_terminal_is_known_as_such(word: str) -> None:
    assert read_state(word).kind in ("pending", "active")


def test_who_cancelled_is_read() -> None:
    state = read_state("CANCELLED by 1001")
    assert (state.word, state.kind, state.cancelled_by_uid) == ("CANCELLED", "terminal", 1001)


def test_a_cut_word_is_read() -> None:
    assert read_state("CANCELLED+") == read_state("CANCELLED")


@pytest.mark.parametrize("word", ["", "HIBERNATING", "completed", "CANCELLED by somebody"])
def test_a_word_never_heard_of_is_unknown_and_kept(word: str) -> None:
    state = read_state(word)
    assert (state.kind, state.word) == ("unknown", word)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "jobs with a higher priority are ahead of it (Priority)"),
        ("Resources", "waiting for enough free CPUs, memory or GPUs"),
        ("QOSMaxJobsPerUserLimit", "the limit of the QOS on running jobs per user is reached"),
        ("AssocMaxJobsLimit", "the limit of the account or user on running jobs is reached"),
        ("AssocGrpCpuLimit", "the limit of the account or user on CPUs is reached"),
        ("QOSMaxGRESPerUser", "the limit of the QOS on GPUs and other devices per user is reached"),
        ("AssocMaxCpuPerJobLimit", "it will not start as it is"),
        ("QOSMinGRES", "asks for less than the QOS requires"),
        ("ReqNodeNotAvail, UnavailableNodes:node01", "UnavailableNodes:node01"),
        ("PartitionTimeLimit", "its time limit is above that of its partition"),
        ("Dependency", "waiting for a job that it depends on"),
        ("JobHeldUser", "scontrol release"),
        ("InvalidAccount", "its account is not valid"),
        ("None", "SLURM has not looked at it yet"),
        ("SomethingNew", "SLURM says: SomethingNew"),
    ],
)
def test_pending_reasons_are_told_in_plain_words(reason: str, words: str) -> None:
    assert words in pending_reason(reason)


@given(st.text())
def test_no_word_of_slurm_makes_a_reader_raise(text: str) -> None:
    read_state(text)
    assert pending_reason(text)
