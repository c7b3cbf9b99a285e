"""The stack as fixtures: one that tests share, and one of its own for a test that breaks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.running import RunningStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that nobody kills."""
    yield from running(tmp_path_factory.mktemp("stack") / "state")


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[RunningStack]:
    """A stack for one test, which may kill its processes."""
    yield from running(tmp_path / "state")


def running(folder: Path) -> Iterator[RunningStack]:
    """For the time of a fixture."""
    # With this kind of resource alone, users may be granted local profiles.
    stack = RunningStack(folder, environment={"STOKER_RESOURCE_TYPES": "local"})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
