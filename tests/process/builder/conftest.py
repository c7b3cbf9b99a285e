from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workshop.building import BuildingSite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[BuildingSite]:
    made = BuildingSite(tmp_path / "site with a space")
    yield made
    made.close()
