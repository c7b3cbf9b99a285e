"""Tests of any stack over HTTP."""

import pytest

from tests.over_http.fixtures import resources
from tests.over_http.place import Place


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`place`: a test runs on each resource of the stack."""
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", resources(), indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, all_places: list[Place]) -> Place:
    return next(place for place in all_places if place.name == request.param)
