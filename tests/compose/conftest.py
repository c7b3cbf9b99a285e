"""Tests of a whole stack that runs somewhere, over HTTP; collected only where the environment says which one."""

import asyncio
from functools import cache

import pytest

from tests.compose.place import Place, places
from tests.compose.stack import RunningContainers, StackAddress

# What is not there is not skipped: without these variables there is nothing to test.
collect_ignore_glob = []
if not StackAddress.is_given():
    collect_ignore_glob += ["test_*.py"]
elif not RunningContainers.are_given():
    collect_ignore_glob += ["test_images.py", "test_outages.py", "test_replicas.py"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`place`: a test runs on each resource of the stack."""
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", _places(), ids=lambda place: place.name)


@cache
def _places() -> list[Place]:
    return asyncio.run(places(StackAddress.from_environment()))


@pytest.fixture(scope="session")
def address() -> StackAddress:
    return StackAddress.from_environment()


@pytest.fixture
def all_places() -> list[Place]:
    return _places()


@pytest.fixture
def cluster_places() -> list[Place]:
    return [place for place in _places() if place.on_cluster]


@pytest.fixture
def containers() -> RunningContainers:
    return RunningContainers.from_environment()
