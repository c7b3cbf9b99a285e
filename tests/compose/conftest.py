"""Tests of a stack in containers; collected only where the environment says how its containers are got at."""

import pytest

from tests.compose.containers import RunningContainers

# What is not there is not skipped: without containers there is nothing to test.
collect_ignore_glob = [] if RunningContainers.are_given() else ["test_*.py"]


@pytest.fixture
def containers() -> RunningContainers:
    return RunningContainers.from_environment()
