from collections.abc import Iterator

import pytest

from tests.servers.slurm.users import ClusterUsers
from tests.workshop.ssh import SshWorkshop


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def ssh(slurm_users: ClusterUsers) -> Iterator[SshWorkshop]:
    """A real sshd behind a line, and `ada`, whose key it takes."""
    made = SshWorkshop(slurm_users)
    try:
        made.start()
        yield made
    finally:
        made.close()
