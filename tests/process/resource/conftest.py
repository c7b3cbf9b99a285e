from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.pipes import JOBS, AgentConnection
from shared.pipes.local import open_local_pipe
from tests.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[AgentConnection]:
    """A real agent whose root `jobs` is the test's folder."""
    connection = await AgentConnection.open(await open_local_pipe(), {JOBS: str(tmp_path)})
    yield connection
    await connection.close()
