"""Places for work: who may have one."""

from services.executor.running.places import Due, Places


def due(number: int, resource: str = "r1", owner: str = "ann") -> Due:
    return Due(f"job-{resource}-{owner}-{number}", resource, owner, 0.0)


def test_a_resource_has_so_many_places_and_another_one_has_its_own() -> None:
    places = Places(of_resource=3, of_owner=3)
    assert [places.take(due(n)) for n in range(5)] == [True, True, True, False, False]
    assert places.take(due(0, "r2"))
    assert list(places.taken.resource_ids) == ["r1"]


def test_no_owner_takes_all_places_of_a_resource() -> None:
    places = Places(of_resource=4, of_owner=2)
    assert [places.take(due(n)) for n in range(4)] == [True, True, False, False]
    assert [places.take(due(n, owner="bob")) for n in range(4)] == [True, True, False, False]
    assert sorted(places.taken.owners) == [("r1", "ann"), ("r1", "bob")]


def test_a_job_has_one_place_and_gives_it_back() -> None:
    places = Places(of_resource=2, of_owner=2)
    assert [places.take(due(1)), places.take(due(1)), places.take(due(2)), places.take(due(3))] == [
        True,
        False,
        True,
        False,
    ]
    assert set(places.taken.job_ids) == {due(1).job_id, due(2).job_id}
    places.give_back(due(1))
    assert places.take(due(3))
    for number in (2, 3):
        places.give_back(due(number))
    taken = places.taken
    assert not taken.job_ids
    assert not taken.resource_ids
    assert not taken.owners
