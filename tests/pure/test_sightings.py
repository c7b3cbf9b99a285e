"""What counts as a difference between what was seen of a batch and what the executor knows."""

from typing import Any

import pytest

from services.poller.sightings import Sightings, differs, observation
from shared.pipes import FollowSeen
from stoker.contracts.watches import WatchedBatch


def batch(**known: Any) -> WatchedBatch:
    fields = {"job_id": "j", "folder": "f", "native_id": "n1", "state": "running", "batch_id": "b"}
    return WatchedBatch(**{**fields, "events_offset": 10, "results_offset": 20, **known})


def seen(**what: Any) -> FollowSeen:
    fields = {"target": 0, "exists": True, "events_length": 10, "results_length": 20, "ended": False, "alive": True}
    return FollowSeen(**{**fields, **what})


def noted(what: FollowSeen, of: WatchedBatch) -> Sightings:
    sightings = Sightings()
    sightings.note(of, what, at=5.0)
    return sightings


def test_a_batch_that_was_not_seen_differs_from_nothing() -> None:
    assert not differs(batch(), Sightings().of(batch()))


@pytest.mark.parametrize("what", [seen(), seen(alive=None)])
def test_what_the_executor_knows_is_no_difference(what: FollowSeen) -> None:
    assert not differs(batch(), noted(what, batch()).of(batch()))


@pytest.mark.parametrize(
    "what",
    [
        seen(events_length=11),
        seen(results_length=21),
        seen(results_length=3),
        seen(ended=True),
        seen(alive=False),
        seen(exists=False, events_length=0, results_length=0),
    ],
    ids=["more events", "more results", "a file that shrank", "ended", "died", "folder gone"],
)
def test_whatever_else_is_seen_is_a_difference_until_the_list_shows_it(what: FollowSeen) -> None:
    assert differs(batch(), noted(what, batch()).of(batch()))


def test_more_lengths_are_no_difference_any_more_once_the_list_shows_them() -> None:
    sightings = noted(seen(events_length=11), batch())
    later = batch(events_offset=11)
    assert not differs(later, sightings.of(later))


def test_what_was_seen_of_one_launch_says_nothing_about_the_next() -> None:
    sightings = noted(seen(alive=False), batch())
    assert sightings.of(batch(native_id="n2")) is None


def test_batches_that_are_not_listed_any_more_are_forgotten() -> None:
    sightings = noted(seen(), batch())
    sightings.keep_only([batch(batch_id="another")])
    assert sightings.of(batch()) is None


def test_an_observation_says_what_was_seen() -> None:
    sighting = noted(seen(ended=True, alive=False), batch()).of(batch())
    assert sighting is not None
    said = observation("r", batch(), sighting)
    assert (said.batch_id, said.job_id, said.resource_id, said.native_id) == ("b", "j", "r", "n1")
    assert (said.events_length, said.results_length, said.ended, said.alive) == (10, 20, True, False)
    assert said.observed_at == 5.0


def test_a_folder_that_is_gone_has_no_lengths() -> None:
    sighting = noted(seen(exists=False), batch()).of(batch())
    assert sighting is not None
    said = observation("r", batch(), sighting)
    assert (said.events_length, said.results_length) == (None, None)


def looked(digest: str, of: WatchedBatch) -> Sightings:
    sightings = Sightings()
    sightings.note_scheduler(of, digest, at=6.0)
    return sightings


def test_what_the_queue_shows_is_a_difference_until_the_list_shows_it() -> None:
    sightings = looked("RUNNING|None|7", batch())
    assert differs(batch(), sightings.of(batch()))
    assert not differs(batch(scheduler="RUNNING|None|7"), sightings.of(batch()))
    assert differs(batch(scheduler="PENDING|Priority|9"), sightings.of(batch()))


@pytest.mark.parametrize("digest", ["absent", "TIMEOUT|TimeLimit|7"])
def test_what_is_over_by_the_queue_stays_a_difference_while_it_is_listed(digest: str) -> None:
    assert differs(batch(scheduler=digest), looked(digest, batch()).of(batch()))


def test_a_failed_look_takes_back_what_the_queue_showed_and_nothing_of_the_files() -> None:
    sightings = noted(seen(events_length=11), batch())
    assert sightings.note_scheduler(batch(), "absent", at=6.0)
    assert not sightings.note_scheduler(batch(), "absent", at=7.0)
    assert sightings.note_scheduler(batch(), "", at=8.0)
    known = batch(events_offset=11)
    assert not differs(known, sightings.of(known))
    assert differs(batch(), sightings.of(batch()))


def test_files_and_queue_are_told_in_one_observation() -> None:
    sightings = looked("RUNNING|None|7", batch())
    sightings.note(batch(), seen(), at=7.0)
    sighting = sightings.of(batch())
    assert sighting is not None
    said = observation("r", batch(), sighting)
    assert (said.scheduler, said.scheduler_state, said.events_length) == ("RUNNING|None|7", "RUNNING", 10)
    gone = looked("absent", batch()).of(batch())
    assert gone is not None
    said = observation("r", batch(), gone)
    assert (said.scheduler, said.scheduler_state, said.events_length) == ("absent", None, None)
