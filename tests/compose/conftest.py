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
    """`place`: a test runs on each resource of the stack; `cluster_place`, `local_place`: on those of that kind."""
    for argument, kinds in (("place", (True, False)), ("cluster_place", (True,)), ("local_place", (False,))):
        if argument in metafunc.fixturenames:
            chosen = [place for place in _places() if place.on_cluster in kinds]
            metafunc.parametrize(argument, chosen, ids=lambda place: place.name)


@cache
def _places() -> list[Place]:
    return asyncio.run(places(StackAddress.from_environment()))


@pytest.fixture(scope="session")
def address() -> StackAddress:
    return StackAddress.from_environment()


@pytest.fixture
def containers() -> RunningContainers:
    return RunningContainers.from_environment()
