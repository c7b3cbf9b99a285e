"""How a profile's connection is doing, and since when."""

from services.poller.health import FORGET_AFTER_SECONDS, HealthBook


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_since_is_when_it_changed_and_the_last_look_is_when_it_last_answered() -> None:
    clock = Clock()
    book = HealthBook(clock)
    assert book.looked("p", "r")
    clock.now = 1010.0
    assert not book.looked("p", "r")
    clock.now = 1020.0
    assert book.failed("p", "r", "no route")
    clock.now = 1030.0
    assert not book.failed("p", "r", "still no route")
    health = book.of("p")
    assert health is not None
    assert (health.reachable, health.since, health.last_look_at) == (False, 1020.0, 1010.0)
    assert health.error == "still no route"
    clock.now = 1040.0
    assert book.looked("p", "r")
    health = book.of("p")
    assert health is not None
    assert (health.reachable, health.since, health.last_look_at, health.error) == (True, 1040.0, 1040.0, None)


def test_a_profile_is_reported_for_an_hour_after_its_last_batch() -> None:
    clock = Clock()
    book = HealthBook(clock)
    book.looked("p", "r")
    book.watches("p", 3)
    assert [entry.watched_batches for entry in book.all()] == [3]
    book.watches("p", 0)
    clock.now += FORGET_AFTER_SECONDS - 1
    assert [entry.watched_batches for entry in book.all()] == [0]
    clock.now += 2
    assert book.all() == []


def test_a_profile_that_is_watched_again_stays() -> None:
    clock = Clock()
    book = HealthBook(clock)
    book.looked("p", "r")
    book.watches("p", 0)
    book.watches("p", 1)
    clock.now += 2 * FORGET_AFTER_SECONDS
    assert len(book.all()) == 1


def test_the_number_of_batches_is_known_before_the_first_look() -> None:
    book = HealthBook(Clock())
    book.watches("p", 2)
    assert book.all() == []
    book.failed("p", "r", "no route")
    assert [entry.watched_batches for entry in book.all()] == [2]


def test_a_silent_scheduler_is_told_beside_a_reachable_agent_with_since_when() -> None:
    clock = Clock()
    book = HealthBook(clock)
    assert book.scheduler("p", None)
    assert book.of("p") is None
    clock.now = 1010.0
    book.looked("p", "r")
    assert book.scheduler("p", "no controller")
    clock.now = 1020.0
    assert not book.scheduler("p", "still none")
    book.looked("p", "r")
    health = book.of("p")
    assert health is not None
    assert (health.reachable, health.scheduler_error, health.scheduler_since) == (True, "still none", 1010.0)
    assert book.scheduler("p", None)
    health = book.of("p")
    assert health is not None
    assert (health.scheduler_error, health.scheduler_since) == (None, 1020.0)
