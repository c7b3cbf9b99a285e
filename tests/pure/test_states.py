from hypothesis import given
from hypothesis import strategies as st

from services.executor.model.states import (
    FINAL_BATCH_STATES,
    FINAL_JOB_STATES,
    batch_may_become,
    job_may_become,
    job_reason,
    job_state,
    unit_may_become,
)
from stoker.contracts.jobs import FINAL_UNIT_STATES, BatchState, Counts, JobState

JOB_STATES = ["accepted", "staging", "queued", "running", "collecting", "succeeded", "failed", "cancelled"]
BATCH_STATES = ["planned", "launching", "queued", "running", "ended", "revoked", "lost"]
UNIT_STATES = ["waiting", "running", "succeeded", "failed", "cancelled", "lost"]

counts = st.builds(Counts, **{name: st.integers(min_value=0, max_value=3) for name in Counts.__struct_fields__})


@given(st.lists(st.tuples(st.lists(st.sampled_from(BATCH_STATES), max_size=4), counts, st.booleans())))
def test_a_job_only_moves_forward_whatever_is_said_of_its_parts(
    observations: list[tuple[list[BatchState], Counts, bool]],
) -> None:
    state: JobState = "accepted"
    for batch_states, seen, staged in observations:
        following = job_state(state, batch_states, seen, staged=staged)
        assert following == state or job_may_become(state, following)
        state = following


@given(st.sampled_from(sorted(FINAL_JOB_STATES)), st.lists(st.sampled_from(BATCH_STATES)), counts, st.booleans())
def test_a_final_job_state_is_never_left(
    state: JobState,
    batch_states: list[BatchState],
    seen: Counts,
    staged: bool,  # noqa: FBT001 - hypothesis fills it in
) -> None:
    assert job_state(state, batch_states, seen, staged=staged) == state


@given(st.lists(st.sampled_from(BATCH_STATES), min_size=1), counts)
def test_a_job_is_final_only_when_no_batch_and_no_unit_can_still_change(
    batch_states: list[BatchState], seen: Counts
) -> None:
    state = job_state("running", batch_states, seen, staged=True)
    if state in FINAL_JOB_STATES:
        assert set(batch_states) <= FINAL_BATCH_STATES
        assert not seen.waiting
        assert not seen.running


def test_final_states_exclude_each_other() -> None:
    for may_become, finals, states in (
        (job_may_become, FINAL_JOB_STATES, JOB_STATES),
        (batch_may_become, FINAL_BATCH_STATES, BATCH_STATES),
        (unit_may_become, FINAL_UNIT_STATES, UNIT_STATES),
    ):
        for final in finals:
            assert not [state for state in states if may_become(final, state)]


def test_the_outcome_follows_from_the_units() -> None:
    ended: list[BatchState] = ["ended"]
    assert job_state("running", ended, Counts(succeeded=3), staged=True) == "succeeded"
    assert job_state("running", ended, Counts(succeeded=2, failed=1), staged=True) == "failed"
    assert job_state("running", ended, Counts(succeeded=2, lost=1), staged=True) == "failed"
    assert job_state("running", ended, Counts(succeeded=1, failed=1, cancelled=1), staged=True) == "cancelled"
    assert job_state("queued", ["planned"], Counts(waiting=1), staged=True) == "queued"


def test_the_reason_of_a_failed_job_counts_what_went_wrong() -> None:
    reason = job_reason("failed", Counts(succeeded=7, failed=2, lost=1), ["exit code 3", "exit code 3", "lost"], None)
    assert reason is not None
    assert reason.text == "3 of 10 units did not succeed: exit code 3 (2 units); lost"
