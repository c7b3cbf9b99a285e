"""The two wheels, and an installation with the first and one with both."""

import pytest

from tests.workshop.wheels import Installation, Wheel, make_wheels


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Wheel, Wheel]:
    return make_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def public(wheels: tuple[Wheel, Wheel], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install stoker` gives."""
    return Installation(tmp_path_factory.mktemp("public") / "venv", wheels[0])


@pytest.fixture(scope="session")
def whole(wheels: tuple[Wheel, Wheel], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install 'stoker-server[embedded]'` gives."""
    return Installation(tmp_path_factory.mktemp("whole") / "venv", *wheels, extras=["embedded"])
