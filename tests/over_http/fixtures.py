"""Fixtures of tests that know a stack by its addresses and a key alone.

It is the stack that the environment names (see `StackAddress`); where it names none, one of `stoker up`.
"""

import asyncio
from functools import cache

import pytest

from tests.over_http.address import StackAddress
from tests.over_http.place import Place, places
from tests.stack.command_line import CommandLine
from tests.stack.running import RunningStack


@cache
def resources() -> list[str]:
    """Names of the resources that were there before the tests."""
    if not StackAddress.is_given():
        return ["local"]  # what `stoker up` begins with
    return [place.name for place in asyncio.run(places(StackAddress.from_environment()))]


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> StackAddress:
    if StackAddress.is_given():
        return StackAddress.from_environment()
    stack: RunningStack = request.getfixturevalue("stack")
    record = stack.record
    return StackAddress(record.registry, record.executor, record.poller, stack.admin_key)


@pytest.fixture
def stoker(address: StackAddress) -> CommandLine:
    """The command line for it."""
    return address.command_line()


@pytest.fixture
def all_places(address: StackAddress) -> list[Place]:
    """The resources that were there before: what tests add comes and goes."""
    return [place for place in asyncio.run(places(address)) if place.name in resources()]


@pytest.fixture
def cluster_places(all_places: list[Place]) -> list[Place]:
    return [place for place in all_places if place.on_cluster]
